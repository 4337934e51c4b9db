//! Downloads and questions, on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::base::access::Rules;

/// Starts a server on loopback that gives each connection the next of `answers`; returns its address.
fn server(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let own = address.clone();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.replace("SELF", &own).as_bytes()).unwrap();
        }
    });
    address
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn files(folder: &Path, hosts: &[&str]) -> Files {
    let rules = Rules { allow_net: hosts.iter().map(|h| h.to_string()).collect(), ..Rules::default() };
    Files::new(Access::new(&folder.join("out"), &rules).unwrap(), false)
}

#[test]
fn a_file_is_fetched_once_and_its_hash_holds() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &["127.0.0.1"]);
    let address = server(vec![ok("hello")]) + "/data.txt";
    let hash = hex(&Sha256::digest(b"hello"));
    let place = fetch(&files, &Task::default(), &address, None, Some(&hash)).unwrap();
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "hello");
    // The server has stopped: the second call finds the file by its hash.
    assert_eq!(fetch(&files, &Task::default(), &address, None, Some(&hash)).unwrap(), place);
}

#[test]
fn refusals_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &["127.0.0.1"]);
    let wrong_hash = "0".repeat(64);
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_string();
    let cut_short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc".to_string();
    let elsewhere =
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n".to_string();
    for (answer, hash, said) in [
        (ok("hello"), Some(wrong_hash.as_str()), "is not the expected file"),
        (not_found, None, "404"),
        (cut_short, None, ""),
        (elsewhere, None, "may not connect to elsewhere.invalid"),
    ] {
        let address = server(vec![answer]) + "/x.txt";
        let error = fetch(&files, &Task::default(), &address, None, hash).unwrap_err();
        assert!(error.message.contains(said), "{}", error.message);
        assert!(!folder.path().join("out/x.txt").exists());
    }
}

/// Checks that a file which is larger than the disk is refused before it is received, and one of unstated size when the
/// disk is nearly full.
#[test]
fn a_server_cannot_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &["127.0.0.1"]);
    let stated = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\nabc".to_string();
    let address = server(vec![stated]) + "/x.txt";
    let error = fetch(&files, &Task::default(), &address, None, None).unwrap_err();
    assert!(error.message.contains("the disk would be full"), "{}", error.message);
    assert!(!folder.path().join("out/x.txt").exists());

    let unstated = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1 << 20));
    let url = Url::parse(&(server(vec![unstated]) + "/x.txt")).unwrap();
    let room = disk_space::tests::nearly_full(&folder.path().join("x"));
    let task = Task::default();
    let mut received = Vec::new();
    let client = client(files.access(), judged(files.access()), SILENCE).unwrap();
    let copied = wait_for(async {
        let mut response = client.get(url.clone()).send().await.map_err(|e| failed(&url, e))?;
        assert_eq!(response.content_length(), None);
        let bar = task.begin("x", None);
        copy(&task, &url, &mut response, &mut Sha256::new(), &mut received, &room, bar.as_ref()).await
    });
    assert!(copied.unwrap_err().message.contains("the disk would be full"));
    assert!(received.len() < 1 << 20);
}

#[test]
fn messages_keep_passwords_to_themselves() {
    let shown = |address: &str| named(&Url::parse(address).unwrap());
    assert_eq!(shown("https://me:secret@example.org/x"), "https://example.org/x");
    assert_eq!(shown("https://example.org/x"), "https://example.org/x");
}

/// Checks that a host whose address is denied is denied under each of its names.
#[test]
fn a_name_leads_to_no_address_that_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let address = server(vec![ok("hello"), ok("hello")]).replace("127.0.0.1", "localhost") + "/x";
    let with = |allow: &[&str], deny: &[&str]| {
        let owned = |hosts: &[&str]| hosts.iter().map(ToString::to_string).collect();
        let rules = Rules { allow_net: owned(allow), deny_net: owned(deny), ..Rules::default() };
        let files = Files::new(Access::new(&folder.path().join("out"), &rules).unwrap(), false);
        fetch(&files, &Task::default(), &address, None, None).map_err(|error| error.message)
    };
    let refused = Err("this script may not connect to localhost, whose address is denied".into());
    for denied in ["127.0.0.*", "127.0.0.1", "127.0.0.1:1"] {
        assert_eq!(with(&["*"], &[denied, "::1"]), refused);
    }
    assert_eq!(with(&["*"], &["localhost"]), Err("this script may not connect to localhost".into()));
    assert!(with(&["localhost", "127.0.0.1"], &["127.*.*.*", "::1"]).is_ok());
}

/// Checks that the first address, which may have a key in it, stays unknown to the next server.
#[test]
fn who_is_redirected_to_does_not_hear_from_where() {
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://127.0.0.1:{}/data.txt", second.local_addr().unwrap().port());
    let hearing = std::thread::spawn(move || {
        let (mut stream, _) = second.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        stream.write_all(ok("hello").as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).to_lowercase()
    });
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &["127.0.0.1"]);
    let address = server(vec![moved]) + "/x.txt?key=secret";
    let place = fetch(&files, &Task::default(), &address, None, None).unwrap();
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "hello");
    let heard = hearing.join().unwrap();
    assert!(heard.starts_with("get /data.txt") && !heard.contains("referer") && !heard.contains("secret"), "{heard}");
}

#[test]
fn only_allowed_hosts_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &[]);
    let error = fetch(&files, &Task::default(), "http://127.0.0.1:9/x", None, None).unwrap_err();
    assert_eq!(error.kind, crate::base::Kind::Access);
    let error = fetch(&files, &Task::default(), "file:///etc/passwd", None, None).unwrap_err();
    assert!(error.message.contains("http or https"));
}
