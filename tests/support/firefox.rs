//! Firefox driven by WebDriver BiDi over its socket on loopback, with real keys; nothing is needed beside Debian's `firefox-esr`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keys that are no letters, as the protocol has them.
pub const ENTER: &str = "\u{e007}";
pub const TAB: &str = "\u{e004}";

/// Firefox's program, or none, which is said.
pub fn firefox() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let found = ["firefox-esr", "firefox"].into_iter().find(is_there);
    if found.is_none() {
        writeln!(std::io::stderr().lock(), "skipped: there is no firefox-esr and no firefox").unwrap();
    }
    found
}

pub struct Firefox {
    process: Child,
    socket: TcpStream,
    calls: u64,
    /// The tab that is driven.
    context: String,
}

impl Firefox {
    pub fn start(program: &str, profile: &Path) -> Self {
        std::fs::create_dir_all(profile).unwrap();
        let mut command = Command::new(program);
        command.args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]).arg(profile);
        let command = command.env("HOME", profile).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = |line: std::io::Result<String>| {
            line.unwrap().split_once("BiDi listening on ws://").map(|(_, host)| host.to_string())
        };
        let host = said.find_map(listens).expect("Firefox ended before it listened");
        // What is said later has to go somewhere.
        std::thread::spawn(move || said.for_each(drop));
        let mut socket = TcpStream::connect(&host).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let ask = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
        write!(socket, "GET /session HTTP/1.1\r\nHost: {host}\r\n{ask}\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut firefox = Self { process, socket, calls: 0, context: String::new() };
        firefox.call("session.new", json!({ "capabilities": {} }));
        let tab = firefox.call("browsingContext.create", json!({ "type": "tab" }));
        firefox.context = tab["context"].as_str().unwrap().into();
        firefox
    }

    /// Sends a text in one frame, masked as the protocol of sockets asks of clients.
    fn send(&mut self, text: &str) {
        let mask = *b"mask";
        let length = text.len();
        let mut frame = vec![0x81];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.socket.write_all(&frame).unwrap();
    }

    /// Receives a message, which may come in several frames.
    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        loop {
            let mut exactly = |count: usize| {
                let mut bytes = vec![0; count];
                self.socket.read_exact(&mut bytes).unwrap();
                bytes
            };
            let head = exactly(2);
            let length = match head[1] & 0x7f {
                126 => u16::from_be_bytes(exactly(2).try_into().unwrap()) as usize,
                127 => u64::from_be_bytes(exactly(8).try_into().unwrap()) as usize,
                length => length as usize,
            };
            let content = exactly(length);
            // The end of a text; what is neither text nor more of one only asks whether we live.
            if head[0] & 0x0f <= 1 {
                message.extend(content);
                if head[0] & 0x80 != 0 {
                    return serde_json::from_slice(&message).unwrap();
                }
            }
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        self.send(&json!({ "id": self.calls, "method": method, "params": params }).to_string());
        loop {
            let answer = self.receive();
            if answer["id"] == self.calls {
                assert_eq!(answer["type"], "success", "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    pub fn open(&mut self, address: &str) {
        let params = json!({ "context": self.context, "url": address, "wait": "complete" });
        self.call("browsingContext.navigate", params);
    }

    pub fn size(&mut self, width: u32, height: u32) {
        let params = json!({ "context": self.context, "viewport": { "width": width, "height": height } });
        self.call("browsingContext.setViewport", params);
    }

    /// The value of an expression in the page.
    pub fn js(&mut self, code: &str) -> Value {
        let code = format!("Promise.resolve({code}).then(value => JSON.stringify(value ?? null))");
        let params = json!({ "expression": code, "target": { "context": self.context }, "awaitPromise": true });
        let answer = self.call("script.evaluate", params);
        assert_eq!(answer["type"], "success", "{code}: {answer}");
        serde_json::from_str(answer["result"]["value"].as_str().unwrap()).unwrap()
    }

    pub fn text(&mut self, code: &str) -> String {
        self.js(code).as_str().unwrap_or_else(|| panic!("{code} is no text")).into()
    }

    /// Waits until a condition holds in the page; one that cannot be asked yet does not.
    pub fn until(&mut self, condition: &str) {
        let begin = Instant::now();
        while self.js(&format!("(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"))
            != true
        {
            assert!(begin.elapsed() < PATIENCE, "never: {condition}\n{}", self.js("document.body.innerText"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses keys, letters and others, one after the other.
    pub fn press(&mut self, keys: &str) {
        let press = |key: char| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }));
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("input.performActions", json!({ "context": self.context, "actions": [keyboard] }));
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // Its processes end with it only where it is asked to end.
        if !std::thread::panicking() {
            self.call("browser.close", json!({}));
        }
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}
