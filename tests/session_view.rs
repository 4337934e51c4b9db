//! The server of the Model Context Protocol over HTTP: its gate, a client that speaks plain HTTP, and the page in headless
//! Chromium on which a person sees what the client does, types into its session, and stops it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::page::chromium;
use super::support::browser::Browser;
use super::support::printed;

/// A server that runs, until it is dropped.
struct Server {
    process: Child,
    host: String,
    /// The path of the page.
    page: String,
    /// The session of the protocol.
    session: Option<String>,
}

/// An answer of HTTP.
struct Answer {
    status: String,
    head: String,
    body: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command.current_dir(folder).env("MICROTOME_CACHE", "").args(["mcp", "--http", "0"]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let page = lines.next().unwrap().strip_prefix("page: ").unwrap().trim().to_string();
        let server = lines.next().unwrap();
        assert_eq!(server.strip_prefix("server: ").unwrap(), format!("{page}mcp"));
        let (host, path) = page.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { process, host: host.into(), page: format!("/{path}"), session: None }
    }

    fn address(&self) -> String {
        format!("http://{}{}", self.host, self.page)
    }

    /// Asks, with these lines in the head.
    fn asked(&self, method: &str, path: &str, head: &str, body: &str) -> Answer {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        let length = body.len();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        Answer { status: head.split(' ').nth(1).unwrap_or_default().into(), head: head.into(), body: body.into() }
    }

    /// Sends a message of the protocol, and returns the reply to it, whether it came alone or as an event.
    fn call(&mut self, method: &str, params: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let session = self.session.as_ref().map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "Host: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{session}",
            self.host
        );
        let answer = self.asked("POST", &format!("{}mcp", self.page), &head, &message.to_string());
        assert_eq!(answer.status, "200", "{}\n{}", answer.head, answer.body);
        let named = answer.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("mcp-session-id").then(|| value.to_string())
        });
        self.session = named.or(self.session.take());
        let lines = answer.body.lines().map(|line| line.strip_prefix("data:").unwrap_or(line).trim());
        let reply = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|reply| reply["id"] == 1);
        reply.unwrap_or_else(|| panic!("no reply to {method}: {}", answer.body))["result"].clone()
    }

    fn run(&mut self, script: &str) -> Value {
        self.call("tools/call", json!({ "name": "run", "arguments": { "script": script } }))
    }

    fn initialise(&mut self) {
        let about = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        assert_eq!(self.call("initialize", about)["serverInfo"]["name"], "microtome");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

#[test]
fn who_does_not_know_the_address_hears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    server.initialise();
    let host = format!("Host: {}\r\n", server.host);
    let kind = "Content-Type: application/json\r\n";
    let page = server.page.clone();
    for (method, path, head, status) in [
        ("GET", page.clone(), host.clone(), "200"),
        ("GET", format!("{page}calls/0"), host.clone(), "200"),
        ("GET", "/mcp".into(), host.clone(), "404"),
        ("GET", "/0123456789abcdef0123456789abcdef/calls/0".into(), host.clone(), "404"),
        ("POST", format!("{page}run"), host.clone(), "415"),
        ("POST", format!("{page}run"), format!("{kind}Host: evil.example\r\n"), "403"),
        ("POST", format!("{page}mcp"), format!("{host}{kind}Origin: http://evil.example\r\n"), "403"),
        ("POST", format!("{page}run"), format!("{host}{kind}"), "400"),
        ("GET", format!("{page}picture/main/1/0"), host.clone(), "404"),
    ] {
        let answer = server.asked(method, &path, &head, "");
        assert_eq!(answer.status, status, "{method} {path} {head}");
    }
    // None of that disturbed the client.
    assert_eq!(server.run("1 + 1")["content"][0]["text"], "2\n");
}

#[test]
fn the_sdk_for_python_is_answered_over_http() {
    let Some(python) = super::mcp::python() else { return };
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let page = server.address();
        let mut client = Command::new(&python);
        client.args(["-W", "ignore", "-c", include_str!("mcp/over_http.py"), &format!("{page}mcp"), &page, mode]);
        let said = printed(&mut client);
        assert!(said.starts_with(version) && said.contains("answered"), "{said}");
    }
}

const CALLS: &str = "[...document.querySelectorAll('article:not([hidden])')].map(card => card.innerText).join('|')";

#[test]
fn a_person_sees_what_an_agent_does_and_types_into_its_session() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    server.initialise();
    let mut page = Browser::start(chromium, &folder.path().join("profile"));
    page.open(&server.address());
    page.size(1000, 900);
    page.until("document.querySelector('#nothing').offsetHeight > 0");

    // What an agent runs appears: code, text, tables, pictures, errors, and calls of other tools.
    assert_eq!(server.run("let x = 6; print(\"<b>six</b>\"); x * 7")["content"][0]["text"], "<b>six</b>\n42\n");
    server.run("table([#{ a: 1, b: \"one\" }, #{ a: 2, b: \"two\" }])");
    server.run("plot::line([1, 2, 4])");
    assert_eq!(server.run("nothing")["isError"], true);
    server.call("tools/call", json!({ "name": "help", "arguments": { "query": "sae::fit" } }));
    page.until("document.querySelectorAll('article').length === 5");
    let seen = page.text(CALLS);
    assert!(seen.contains("main 1") && seen.contains("<b>six</b>\n42") && seen.contains("let x = 6"), "{seen}");
    assert!(seen.contains("unknown variable `nothing`") && seen.contains("sae::fit"), "{seen}");
    page.until("document.querySelector('article img').naturalWidth > 100");
    assert_eq!(page.text("document.querySelector('article table').rows[2].innerText"), "2\ttwo");
    assert!(page.is("document.querySelector('article.wrong') && !document.querySelector('article b b')"));

    // A person types into the same session, and the agent has what was typed.
    page.click("#script");
    page.insert("let mine = x + 1; mine");
    page.click("#run");
    page.until("document.querySelector('article.person pre.said')?.textContent === '7\\n'");
    assert_eq!(server.run("mine")["content"][0]["text"], "7\n");

    // A person stops what runs.
    page.click("#script");
    page.insert("loop { }");
    page.click("#run");
    page.until("!document.querySelector('#stop').disabled");
    page.click("#stop");
    page.until(
        "[...document.querySelectorAll('article.person')].at(-1).innerText.includes('a person stopped the call')",
    );
    page.until("document.querySelector('#stop').disabled");

    // Another session is shown by itself.
    server.call("tools/call", json!({ "name": "run", "arguments": { "script": "8 * 8", "session": "other" } }));
    page.until("document.querySelector('#session').options.length === 2");
    assert!(!page.text(CALLS).contains("8 * 8"));
    page.js("document.querySelector('#session').value = 'other'; document.querySelector('#session').dispatchEvent(new Event('change'))");
    let seen = page.text(CALLS);
    assert!(seen.contains("8 * 8") && !seen.contains("let x = 6"), "{seen}");
    page.js("document.querySelector('#session').value = 'main'; document.querySelector('#session').dispatchEvent(new Event('change'))");
    page.photograph("session");
    assert!(page.problems.is_empty(), "{:#?}", page.problems);

    // The session's script has what both ran, and Ctrl-C ends the server.
    assert_eq!(unsafe { libc::kill(server.process.id() as i32, libc::SIGINT) }, 0);
    assert_eq!(server.process.wait().unwrap().code(), Some(130));
    let script = std::fs::read_to_string(folder.path().join("out/main/main.rhai")).unwrap();
    assert!(script.contains("let x = 6") && script.contains("let mine = x + 1"), "{script}");
    page.until("!document.querySelector('#trouble').hidden");
}
