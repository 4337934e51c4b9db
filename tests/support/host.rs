//! A static host on loopback, which sends the files of a folder as any host does.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// Sends the files of a folder until the tests end; returns the address of the folder.
pub fn host(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    address
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let Some(asked) = request.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let path = folder.join(asked.trim_start_matches('/'));
    let kind = match path.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    let (status, content) = match std::fs::read(&path) {
        Ok(content) => ("200 OK", content),
        // Browsers ask for it unasked, and say so where it is missing.
        Err(_) if asked == "/favicon.ico" => ("204 No Content", Vec::new()),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let size = content.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    // A page that is left reads no further.
    let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
}
