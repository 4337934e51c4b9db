//! The explorer through real sockets: who is let in, what is cancelled, and two at once.

#![cfg(feature = "explorer")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Explorer;
use super::routes::Service;
use super::samples::{explorer, slow};
use super::server::{CONNECTIONS, serve_with};
use super::shared_value::SharedValue;
use crate::base::{Kind, Result, Task};

/// A server that ends with the test.
struct TestServer {
    /// Host with its port: `127.0.0.1:PORT`.
    host: String,
    /// Path with the token: `/TOKEN/`.
    path: String,
    service: Arc<Service>,
    task: Task,
    thread: Option<JoinHandle<Result<()>>>,
}

impl TestServer {
    fn new(explorer: Explorer) -> Self {
        let service = Arc::new(Service::new(explorer));
        let task = Task::default();
        let (sender, receiver) = mpsc::channel();
        let served = service.clone();
        let by = task.clone();
        let ready = move |address: &str| sender.send(address.to_string()).unwrap();
        let thread = std::thread::spawn(move || serve_with(served, 0, ready, &by));
        let address = receiver.recv().unwrap();
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { host: host.into(), path: format!("/{path}"), service, task, thread: Some(thread) }
    }

    /// Sends a request as it is, and returns a reader of the answer.
    fn send(&self, request: &str) -> BufReader<TcpStream> {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        BufReader::new(connection)
    }

    /// Returns the status and the rest of an answer to a request with these lines.
    fn answer(&self, line: &str, headers: &[&str], body: &str) -> (u16, String) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        let mut text = Vec::new();
        // A server that refuses a body closes with some of it unread.
        let _reset = self.send(&request).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_default(), text)
    }

    fn host(&self) -> String {
        format!("Host: {}", self.host)
    }

    /// Sends a question, as the page asks it.
    fn begin(&self, ask: &str, page: &str, slot: &str, mut question: Value) -> BufReader<TcpStream> {
        question["page"] = page.into();
        question["slot"] = slot.into();
        let body = question.to_string();
        let path = &self.path;
        let host = self.host();
        let kind = "Content-Type: application/json";
        let length = body.len();
        self.send(&format!(
            "POST {path}{ask} HTTP/1.1\r\n{host}\r\n{kind}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn ask(&self, ask: &str, slot: &str, question: Value) -> Vec<Value> {
        lines(&mut self.begin(ask, "page", slot, question)).collect()
    }

    fn is_idle(&self) -> bool {
        let surveys = self.service.explorer.dictionaries.iter();
        self.service.slots.count() == 0 && surveys.clone().all(|of| of.overviews.iter().all(SharedValue::is_missing))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.flag().store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert_eq!(ended.unwrap().unwrap().unwrap_err().kind, Kind::Interrupted);
        }
    }
}

/// Returns the lines of JSON of an answer, whatever is between them.
fn lines(answer: &mut BufReader<TcpStream>) -> impl Iterator<Item = Value> {
    answer
        .lines()
        .map_while(|line| line.ok())
        .filter_map(|line| serde_json::from_str(&line).ok())
        .filter(Value::is_object)
}

fn patiently(what: &str, until: impl Fn() -> bool) {
    let begin = Instant::now();
    while !until() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_that_are_never_finished_keep_nobody_out() {
    let running = TestServer::new(explorer());
    // As many as are let in at a time; none of them says the token.
    let _stalled: Vec<_> = (0..CONNECTIONS).map(|_| running.send("GET / HTTP/1.1\r\nHost: ")).collect();
    let (status, page) = running.answer(&format!("GET {}", running.path), &[&running.host()], "");
    assert_eq!(status, 200, "{page}");
}

#[test]
fn the_page_is_served_with_its_protection() {
    let server = TestServer::new(explorer());
    let (status, text) = server.answer(&format!("GET {}", server.path), &[&server.host()], "");
    assert_eq!(status, 200, "{text}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "frame-ancestors 'none'",
        "content-type: text/html",
    ] {
        assert!(text.contains(header), "{header}\n{text}");
    }
    let (status, text) = server.answer(&format!("GET {}page/style.css", server.path), &[&server.host()], "");
    assert!(status == 200 && text.contains("text/css"));
    let (status, text) = server.answer(&format!("GET {}start", server.path), &[&server.host()], "");
    let start: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((status, &start["model"], &start["context"]), (200, &json!("sample"), &json!(12)));
    assert_eq!(
        start["dictionaries"][1],
        json!({ "name": "resid_post.1", "features": 24, "kind": "topk", "words": {} })
    );
}

#[test]
fn strangers_are_refused_and_told_nothing() {
    let server = TestServer::new(explorer());
    let host = server.host();
    let start = format!("GET {}start", server.path);
    let port = server.host.split(':').nth(1).unwrap();
    let wrong_host = ["Host: evil.example".to_string(), format!("Host: evil.example:{port}"), "Host: 127.0.0.1".into()];
    for wrong in &wrong_host {
        assert_eq!(server.answer(&start, &[wrong], "").0, 403, "{wrong}");
    }
    for wrong in
        ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
    {
        assert_eq!(server.answer(&start, &[&host, wrong], "").0, 403, "{wrong}");
    }
    let other = format!("/{}/", "0".repeat(32));
    for path in ["/", "/start", "//start", &other, "/%2e%2e/", "/index.html"] {
        let (status, text) = server.answer(&format!("GET {path}"), &[&host], "");
        assert!(status == 404 && text.ends_with("\r\n\r\n"), "{path} {text}");
    }
    for path in ["page/../start", "page/none.js", "page/%2e%2e%2fstart", "none", "page/"] {
        let status = server.answer(&format!("GET {}{path}", server.path), &[&host], "").0;
        assert!([404, 405].contains(&status), "{path} {status}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let status = server.answer(&format!("{method} {}read", server.path), &[&host], "").0;
        assert!((400..500).contains(&status), "{method} {status}");
    }
    let kind = "Content-Type: text/plain";
    assert_eq!(server.answer(&format!("POST {}read", server.path), &[&host, kind], "{}").0, 415);
}

#[test]
fn bad_questions_are_answered_with_what_is_wrong() {
    let server = TestServer::new(explorer());
    let host = server.host();
    let kind = "Content-Type: application/json";
    let post = |body: &str| server.answer(&format!("POST {}read", server.path), &[&host, kind], body);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = r#"{"page":"p","slot":"s","text":"a","dictionary":1e400}"#;
    let half = r#"{"page":"p","slot":"s","text":"\ud83d","dictionary":0}"#;
    let negative = r#"{"page":"p","slot":"s","text":"a","dictionary":-1}"#;
    for body in ["", "{", "null", "[]", "{}", &deep, huge, half, negative, "\u{0}", "{\"page\":1}"] {
        let (status, text) = post(body);
        assert!(status == 400 && text.contains("\"message\""), "{} {text}", body.get(..20).unwrap_or(body));
    }
    let (status, text) = post(r#"{"page":"p","slot":"s","text":"a","dictionary":9}"#);
    assert!(status == 400 && text.contains("expected a dictionary below 2, found 9"), "{text}");
    let large = format!(r#"{{"page":"p","slot":"s","dictionary":0,"text":"{}"}}"#, "a".repeat(2 << 20));
    let status = post(&large).0;
    // The answer may be lost with the connection, which is closed before all is sent.
    assert!([413, 0].contains(&status), "{status}");
    // The server is as well as before.
    let read = server.ask("read", "read", json!({ "text": "ab", "dictionary": 0 }));
    assert_eq!((read.len(), &read[0]["done"]), (1, &json!(true)));
}

#[test]
fn garbage_and_silence_stop_nobody() {
    let server = TestServer::new(explorer());
    let waiting: Vec<_> = ["", "POST /", "GET / HTTP/1.1\r\nHost:"].iter().map(|begun| server.send(begun)).collect();
    let slow = format!(
        "POST {}read HTTP/1.1\r\n{}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        server.path,
        server.host()
    );
    let slow = server.send(&slow);
    for garbage in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "HELLO WORLD HTTP/9.9\r\n\r\n", &"A".repeat(1 << 20)] {
        let mut text = Vec::new();
        let mut connection = TcpStream::connect(&server.host).unwrap();
        let _closed = connection.write_all(garbage.as_bytes());
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _reset = connection.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    let read = server.ask("read", "read", json!({ "text": "ab", "dictionary": 0 }));
    assert_eq!(read[0]["done"], true);
    drop((waiting, slow));
}

#[test]
fn a_newer_question_cancels_a_long_one_and_other_slots_are_answered_beside_it() {
    let server = TestServer::new(slow());
    let mut card = server.begin("card", "page", "card", json!({ "dictionary": 0, "feature": 1 }));
    let first = lines(&mut card).next().unwrap();
    assert!(first["progress"].is_array(), "{first}");
    // Beside it, and on another page, which does not disturb it.
    let read = server.ask("read", "read", json!({ "text": "ab", "dictionary": 0 }));
    assert_eq!(read[0]["done"], true);
    let other = lines(&mut server.begin("read", "other page", "card", json!({ "text": "ab", "dictionary": 0 }))).last();
    assert_eq!(other.unwrap()["done"], true);
    let begin = Instant::now();
    let newer = server.ask("read", "card", json!({ "text": "ab", "dictionary": 0 }));
    assert_eq!(newer[0]["done"], true);
    assert_eq!(lines(&mut card).last().unwrap(), json!({ "cancelled": true }));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    patiently("the survey stops when nobody waits for it", || server.is_idle());
}

#[test]
fn a_closed_connection_cancels() {
    let server = TestServer::new(slow());
    let mut card = server.begin("card", "page", "card", json!({ "dictionary": 1, "feature": 1 }));
    assert!(lines(&mut card).next().unwrap()["progress"].is_array());
    assert!(!server.is_idle());
    drop(card);
    patiently("the question ends with its connection", || server.service.slots.count() == 0);
    patiently("the survey stops when nobody waits for it", || server.is_idle());
}

#[test]
fn two_explorers_at_once_do_not_know_each_other() {
    let a = TestServer::new(explorer());
    let b = TestServer::new(explorer());
    assert_ne!((&a.host, &a.path), (&b.host, &b.path));
    let (status, _) = b.answer(&format!("GET {}start", a.path), &[&b.host()], "");
    assert_eq!(status, 404);
    let question = json!({ "text": "ab(c)", "dictionary": 0 });
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            [&a, &b, &a, &b].map(|server| scope.spawn(|| server.ask("read", "r", question.clone()))).into();
        let found: Vec<Vec<Value>> = asking.into_iter().map(|one| one.join().unwrap()).collect();
        // Two of one slot may meet, and then the newer one cancels the older.
        assert!(found.iter().any(|lines| lines.last().unwrap()["done"] == true));
    });
}

#[test]
fn an_interruption_ends_it_at_once_with_a_page_open() {
    let server = TestServer::new(slow());
    let mut card = server.begin("card", "page", "card", json!({ "dictionary": 0, "feature": 1 }));
    assert!(lines(&mut card).next().is_some());
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}
