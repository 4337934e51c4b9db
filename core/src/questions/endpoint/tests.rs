//! Endpoints on loopback: slow, busy, refusing, lying, and gone half-way.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kit::http::{Request, answer, serve};

use super::*;
use crate::base::access::Rules;
use crate::questions::{Answers, Question, Reply};

/// The server's answer to a request.
enum Act {
    Send(Vec<u8>),
    /// A beginning, after which the server closes.
    Cut(Vec<u8>),
    /// An open connection on which nothing is sent.
    Stall,
}

struct ChatServer {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl ChatServer {
    /// Starts a server; `act` is given the number of the request, and the request.
    fn new(act: impl Fn(usize, &Request) -> Act + Send + Sync + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let act = Arc::new(act);
        let counter = asked.clone();
        let port = serve(move |mut stream| {
            let Some(request) = Request::read(&mut BufReader::new(&stream)) else { return };
            let bytes = match act(counter.fetch_add(1, Ordering::SeqCst), &request) {
                Act::Send(bytes) | Act::Cut(bytes) => bytes,
                Act::Stall => {
                    std::thread::sleep(Duration::from_secs(60));
                    return;
                }
            };
            // The client may be gone.
            let _sent = stream.write_all(&bytes);
        });
        Self { address: format!("http://127.0.0.1:{port}/v1"), asked }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

fn with_status(status: &str, headers: &[(&str, &str)], body: &str) -> Act {
    Act::Send(answer(status, headers, body.as_bytes()))
}

fn said(text: &str) -> Act {
    let body = serde_json::json!({ "choices": [{ "message": { "content": text } }], "usage": { "total_tokens": 100 } });
    with_status("200 OK", &[], &body.to_string())
}

/// Answers with the last word of the question.
fn echo(request: &Request) -> Act {
    let body = request.json();
    let messages = body["messages"].as_array().unwrap();
    said(messages.last().unwrap()["content"].as_str().unwrap())
}

/// A cache of its own, and rules that allow this machine.
struct TestCache {
    folder: tempfile::TempDir,
}

impl TestCache {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn access(&self, hosts: &[&str]) -> Access {
        let rules = Rules { allow_net: hosts.iter().map(|host| host.to_string()).collect(), ..Rules::default() };
        Access::new(&self.folder.path().join("out"), &rules).unwrap()
    }

    fn ask(&self, address: &str, options: EndpointOptions, count: usize) -> Result<Vec<Result<Reply>>> {
        self.ask_under(&["127.0.0.1"], address, options, (count, &Task::default()))
    }

    fn ask_under(
        &self,
        hosts: &[&str],
        address: &str,
        options: EndpointOptions,
        (count, task): (usize, &Task),
    ) -> Result<Vec<Result<Reply>>> {
        let endpoint = Endpoint::new(address, options).unwrap();
        let access = self.access(hosts);
        let cache = self.folder.path().join("cache");
        let question = |n| Question { system: "Repeat.".into(), user: format!("word {n}"), tokens: 50, chances: true };
        let questions: Vec<Question> = (0..count).map(question).collect();
        EndpointConnection::new(&endpoint, &access, Some(&cache)).unwrap().answers(&questions, task)
    }

    /// Returns all that was written.
    fn kept(&self) -> Vec<String> {
        let files = walkdir::WalkDir::new(self.folder.path()).into_iter().flatten();
        files
            .filter(|f| f.path().extension().is_some_and(|e| e == "json"))
            .map(|f| std::fs::read_to_string(f.path()).unwrap())
            .collect()
    }
}

fn texts(replies: &[Result<Reply>]) -> Vec<String> {
    replies.iter().map(|reply| reply.as_ref().map_or_else(|e| e.message.clone(), |reply| reply.text.clone())).collect()
}

fn once() -> EndpointOptions {
    EndpointOptions { retries: 0, ..EndpointOptions::default() }
}

#[test]
fn answers_come_in_the_order_of_their_questions_and_are_kept() {
    // Later questions are answered earlier.
    let server = ChatServer::new(|number, request| {
        std::thread::sleep(Duration::from_millis(40_u64.saturating_sub(number as u64 * 2)));
        echo(request)
    });
    let place = TestCache::new();
    let expected: Vec<String> = (0..20).map(|n| format!("word {n}")).collect();
    assert_eq!(texts(&place.ask(&server.address, once(), 20).unwrap()), expected);
    assert_eq!((server.asked(), place.kept().len()), (20, 20));
    // Again without a connection, and with two more questions.
    let offline = place.ask_under(&[], &server.address, once(), (20, &Task::default()));
    assert_eq!(texts(&offline.unwrap()), expected);
    assert_eq!(server.asked(), 0);
    place.ask(&server.address, once(), 22).unwrap();
    assert_eq!(server.asked(), 2);
    // A new question needs a connection, which the rules deny.
    let denied = place.ask_under(&[], &server.address, once(), (23, &Task::default())).unwrap_err();
    assert_eq!(denied.kind, Kind::Access);
}

#[test]
fn no_more_than_so_many_are_asked_at_once() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let counter = now;
    let highest = most.clone();
    let server = ChatServer::new(move |_, request| {
        highest.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(15));
        counter.fetch_sub(1, Ordering::SeqCst);
        echo(request)
    });
    TestCache::new().ask(&server.address, EndpointOptions { parallel: 3, ..once() }, 18).unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let server = ChatServer::new(|number, request| match number {
        0 => with_status("429 Too Many", &[("Retry-After", "1")], ""),
        1 => with_status("503 Busy", &[("Retry-After", "0")], ""),
        _ => echo(request),
    });
    let since = Instant::now();
    let found = TestCache::new().ask(&server.address, EndpointOptions::default(), 1).unwrap();
    assert_eq!((texts(&found), server.asked()), (vec!["word 0".to_string()], 3));
    assert!(since.elapsed() >= Duration::from_secs(1));
    // A wait of days is none.
    let server = ChatServer::new(|_, _| with_status("429 Too Many", &[("Retry-After", "99999")], ""));
    let error = TestCache::new().ask(&server.address, EndpointOptions::default(), 1).unwrap_err();
    assert!(error.message.ends_with("asks to be left alone for 99999 seconds"), "{error}");
    let server = ChatServer::new(|_, _| with_status("429 Too Many", &[("Retry-After", "0")], "slowly"));
    let error = TestCache::new().ask(&server.address, EndpointOptions { retries: 2, ..once() }, 1).unwrap_err();
    assert_eq!((server.asked(), error.message.ends_with("answered 429: slowly")), (3, true));
}

#[test]
fn what_was_paid_for_is_kept_when_the_server_dies() {
    let server = ChatServer::new(|number, request| match number {
        0..7 => echo(request),
        _ => Act::Cut("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\"".into()),
    });
    let place = TestCache::new();
    let error = place.ask(&server.address, EndpointOptions { parallel: 1, ..once() }, 20).unwrap_err();
    assert_eq!((error.kind, place.kept().len()), (Kind::Network, 7));
    assert!(error.hint.unwrap().ends_with("7 of 20 answers are kept, and the next call asks for the others only"));
    // It is back at another time: only the others are asked.
    let asked = server.asked();
    assert!(place.ask(&server.address, once(), 7).is_ok() && asked == 8 && server.asked() == 0);
    let gone = TestCache::new().ask("http://127.0.0.1:1/v1", once(), 1).unwrap_err();
    assert_eq!(gone.kind, Kind::Network);
}

#[test]
fn refusals_say_what_to_do_and_end_the_work() {
    for (status, hint) in [("401 No", "it wants a key: set MICROTOME_ENDPOINT_KEY"), ("403 No", "it wants a key")] {
        let server = ChatServer::new(move |_, _| with_status(status, &[], "go away"));
        let error = TestCache::new().ask(&server.address, EndpointOptions { parallel: 2, ..once() }, 50).unwrap_err();
        assert!(error.hint.unwrap().starts_with(hint) && server.asked() <= 2);
    }
    let server = ChatServer::new(|_, _| with_status("400 No", &[], "unknown field logprobs"));
    let error = TestCache::new().ask(&server.address, once(), 1).unwrap_err();
    assert!(error.hint.unwrap().contains("logprobs: false"));
    // A redirection is not followed: the question and the key are for this server.
    let server = ChatServer::new(|_, _| with_status("307 There", &[("Location", "http://elsewhere.invalid/")], ""));
    assert!(TestCache::new().ask(&server.address, once(), 1).unwrap_err().message.contains("answered 307"));
}

#[test]
fn answers_that_are_none_fail_one_by_one_and_alike_when_repeated() {
    let server = ChatServer::new(|_, request| {
        let ok = |body: &str| with_status("200 OK", &[], body);
        match request {
            r if r.says("word 0") => ok("{}"),
            r if r.says("word 1") => ok("<html><script>alert(1)</script>"),
            r if r.says("word 2") => ok(r#"{"choices": [{"message": {"content": 3}}]}"#),
            r if r.says("word 3") => ok(r#"{"choices": [{"logprobs": NaN}]}"#),
            r => echo(r),
        }
    });
    let place = TestCache::new();
    let first = place.ask(&server.address, once(), 6).unwrap();
    assert_eq!(first.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, false, false, true, true]);
    assert!(first[0].as_ref().unwrap_err().message.starts_with("expected an answer in `choices[0].message.content`"));
    assert_eq!(
        (server.asked(), place.ask_under(&[], &server.address, once(), (6, &Task::default())).unwrap()),
        (6, first)
    );
}

#[test]
fn probabilities_are_read_and_those_that_are_none_left_out() {
    let top = r#"[{"token": "1", "logprob": -0.5}, {"token": "0", "logprob": null}, {"token": "2", "logprob": 50}]"#;
    let body = format!(
        r#"{{"choices": [{{"message": {{"content": "1"}}, "logprobs": {{"content": [{{"token": "1", "logprob": -0.5, "top_logprobs": {top}}}]}}}}]}}"#
    );
    let server = ChatServer::new(move |_, request| {
        assert!(request.says("\"top_logprobs\":15"));
        with_status("200 OK", &[], &body)
    });
    let found = TestCache::new().ask(&server.address, once(), 1).unwrap().remove(0).unwrap();
    assert_eq!((found.chances[0].token.as_str(), found.chances[0].top.clone()), ("1", vec![("1".into(), -0.5)]));
    let server = ChatServer::new(|_, request| if request.says("logprobs") { Act::Stall } else { echo(request) });
    assert!(TestCache::new().ask(&server.address, EndpointOptions { logprobs: false, ..once() }, 1).is_ok());
}

#[test]
fn a_budget_ends_the_work_before_it_is_exceeded() {
    // Each exchange says that it took 100 tokens; 50 are set aside for an answer, and some for the question.
    let server = ChatServer::new(|_, request| echo(request));
    let place = TestCache::new();
    let options = EndpointOptions { budget: Some(470), parallel: 1, ..once() };
    let error = place.ask(&server.address, options.clone(), 20).unwrap_err();
    assert!(error.message.starts_with("expected 20 questions to take at most 470 tokens"), "{error}");
    assert_eq!((server.asked(), place.kept().len()), (5, 5));
    // The next call has a budget of its own, and goes on from there.
    place.ask(&server.address, options, 20).unwrap_err();
    assert_eq!(place.kept().len(), 10);
    let small = EndpointOptions { budget: Some(1), ..once() };
    assert!(TestCache::new().ask(&server.address, small, 1).is_err() && server.asked() == 5);
}

#[test]
fn an_interruption_waits_for_no_answer() {
    let server = ChatServer::new(|number, request| if number < 3 { echo(request) } else { Act::Stall });
    let place = TestCache::new();
    let task = Task::default();
    let flag = task.flag().clone();
    let asked = server.asked.clone();
    let raised = std::thread::spawn(move || {
        // Three are answered, and six wait.
        while asked.load(Ordering::SeqCst) < 9 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        flag.store(true, Ordering::Relaxed);
        Instant::now()
    });
    let found = place.ask_under(&["127.0.0.1"], &server.address, EndpointOptions::default(), (9, &task));
    let waited = raised.join().unwrap().elapsed();
    assert_eq!(found.unwrap_err(), Error::interrupted());
    // The flag is looked at every few hundredths of a second; the server would be silent for a minute.
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(place.kept().len(), 3);
}

#[test]
fn an_interruption_does_not_wait_until_a_busy_server_may_be_asked_again() {
    let server = ChatServer::new(|_, _| with_status("429 Too Many Requests", &[("Retry-After", "60")], ""));
    let place = TestCache::new();
    let task = Task::default();
    let flag = task.flag().clone();
    let asked = server.asked.clone();
    let raised = std::thread::spawn(move || {
        while asked.load(Ordering::SeqCst) < 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        flag.store(true, Ordering::Relaxed);
        Instant::now()
    });
    let found = place.ask_under(&["127.0.0.1"], &server.address, EndpointOptions::default(), (1, &task));
    let waited = raised.join().unwrap().elapsed();
    assert_eq!(found.unwrap_err(), Error::interrupted());
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// Sets variables, as no other test does; their names are its own.
#[test]
fn keys_go_to_the_server_and_nowhere_else() {
    const SECRET: &str = "sk-secret-of-the-tests";
    // SAFETY: no other thread reads these names.
    unsafe { std::env::set_var("MICROTOME_TEST_KEY", SECRET) };
    let server = ChatServer::new(|number, request| {
        if request.header("authorization") != Some(format!("Bearer {SECRET}").as_str()) {
            with_status("401 No", &[], "")
        } else if number == 0 {
            said(&format!("your key is {SECRET}"))
        } else {
            with_status("403 No", &[], &format!("wrong key: {SECRET}"))
        }
    });
    let place = TestCache::new();
    let options = EndpointOptions { key: "MICROTOME_TEST_KEY".into(), parallel: 1, ..once() };
    let error = place.ask(&server.address, options.clone(), 2).unwrap_err();
    assert!(error.message.ends_with("answered 403: wrong key: <key>"), "{error}");
    assert!(
        place.kept().len() == 1 && !place.kept()[0].contains(SECRET) && place.kept()[0].contains("your key is <key>")
    );
    // It is not sent where others can read it.
    let error = place.ask_under(&["*"], "http://example.invalid/v1", options, (1, &Task::default())).unwrap_err();
    assert!(error.kind == Kind::Access && error.message.starts_with("expected an https address"));
    for name in ["HOME", "AWS_SECRET_ACCESS_KEY", "MICROTOME_CACHE", ""] {
        let error = Endpoint::new("https://x.org/v1", EndpointOptions { key: name.into(), ..once() }).unwrap_err();
        assert_eq!(error.about.as_deref(), Some("key"), "{name}");
    }
}

#[test]
fn an_endpoint_has_an_address_that_may_be_asked() {
    let place = TestCache::new();
    let endpoint = Endpoint::new("http://127.0.0.1:9/v1", EndpointOptions::default()).unwrap();
    let access = place.access(&[]);
    let connected = EndpointConnection::new(&endpoint, &access, None).unwrap();
    assert_eq!(connected.answer("?", &Task::default()).unwrap_err().kind, Kind::Access);
    for wrong in ["here", "file:///etc", "data:text"] {
        assert!(Endpoint::new(wrong, EndpointOptions::default()).unwrap_err().message.contains("such as"), "{wrong}");
    }
    let error = Endpoint::new("https://x.org/v1?key=secret", EndpointOptions::default()).unwrap_err();
    assert!(!error.message.contains("secret"));
    let shown = Endpoint::new("https://me:secret@x.org/v1", EndpointOptions::default()).unwrap().address();
    assert_eq!(shown, "https://x.org/v1");
    assert!(!Endpoint::new("https//me:secret@x", EndpointOptions::default()).unwrap_err().message.contains("secret"));
}

#[test]
fn a_damaged_exchange_is_named() {
    let server = ChatServer::new(|_, request| echo(request));
    let place = TestCache::new();
    place.ask(&server.address, once(), 1).unwrap();
    let mut files = walkdir::WalkDir::new(place.folder.path()).into_iter().flatten();
    let kept = files.find(|f| f.path().extension().is_some_and(|e| e == "json")).unwrap();
    std::fs::write(kept.path(), "{").unwrap();
    let error = place.ask(&server.address, once(), 1).unwrap_err();
    assert!(error.kind == Kind::Format && error.hint.unwrap() == "delete it to ask again");
}
