//! From key to answer: a text of 50 tokens read by the explorer's own server, over a socket. Writes
//! `docs/benchmarks-explorer.md`.
//!
//! `cargo bench --bench explorer`. A person who types changes the text at its end, so each request has another one. The
//! page draws what comes in a frame of its own, which Chromium is asked for in `tests/explorer.rs`.

#[allow(dead_code, reason = "times are listed here, since a percentile is wanted")]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Rows, milliseconds, publish};
use microtome::base::memory;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;
use serde_json::{Value, json};

const TOKENS: usize = 50;
const ASKED: usize = 200;
const WARMING: usize = 20;

/// About fifty tokens of `tiny`; digits at the end make each another text.
const TEXT: &str = "The old man (who had never seen the sea) looked at the letter, and then he read it again: \
                    \"Come home, before the winter comes, and bring the children with you.\" He said that the old house was far";

fn main() {
    memory::keep_freed();
    let place = std::env::temp_dir().join("microtome-bench-explorer");
    std::fs::create_dir_all(&place).unwrap();
    let folder = place.clone();
    with_large_stack(move || {
        let prepare = r#"
            let m = model::load("tiny");
            let text = data::text("sample", #{ tokens: 65536 });
            for d in [[1536, "usual"], [16384, "wide"]] {
                sae::fit(m, "resid_post.3", text, #{ k: 32, d_sae: d[0], steps: 20, seed: 0 }).save(d[1]);
            }
        "#;
        drop(Session::new(Env::in_memory(&folder).unwrap()).eval("bench", prepare).unwrap());
    })
    .unwrap();
    let mut rows = Rows::new();
    for (name, features) in [("usual", 1536), ("wide", 16384)] {
        let server = Server::start(&place.join(name).join("dictionary.safetensors").display().to_string());
        let (median, late) = asked(&server, 0);
        rows.push((format!("read of {TOKENS} tokens, {features} features: median"), milliseconds(median)));
        rows.push((format!("read of {TOKENS} tokens, {features} features: 95th percentile"), milliseconds(late)));
        if name == "usual" {
            let (median, late) = beside_a_card(&server);
            rows.push(("the same while a card reads its text: median".into(), milliseconds(median)));
            rows.push(("the same while a card reads its text: 95th percentile".into(), milliseconds(late)));
        }
    }
    publish("Benchmarks of the explorer", "explorer", "benchmarks-explorer.md", SENTENCES, &rows);
}

const SENTENCES: &str = "The program `microtome explore` runs beside the bench, with `tiny` and a dictionary of \
    `resid_post.3` (TopK, k 32); a request is a new connection, the whole JSON of the answer is received and parsed. Each of \
    the 200 requests has another text.";

/// The median and the 95th percentile of the requests.
fn asked(server: &Server, first: usize) -> (Duration, Duration) {
    for turn in 0..WARMING {
        server.read(first + turn);
    }
    let mut times: Vec<Duration> = (0..ASKED)
        .map(|turn| {
            let begin = Instant::now();
            let answer = server.read(first + WARMING + turn);
            let time = begin.elapsed();
            let tokens = answer["tokens"].as_array().unwrap().len();
            assert!(tokens >= TOKENS, "the text has {tokens} tokens");
            time
        })
        .collect();
    times.sort();
    (times[ASKED / 2], times[ASKED * 95 / 100])
}

/// The same while the first card of a dictionary reads the text.
fn beside_a_card(server: &Server) -> (Duration, Duration) {
    let card = server.begin("card", json!({ "page": "bench", "slot": "card", "dictionary": 0, "feature": 1 }));
    let found = asked(server, 1000);
    drop(card);
    found
}

/// The explorer as a program of its own, which ends with this.
struct Server {
    child: Child,
    host: String,
    path: String,
}

impl Server {
    fn start(dictionary: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
            .args(["--quiet", "explore", "--model", "tiny", "--dictionary", dictionary, "--tokens", "5000000"])
            .args(["--text", "grammar"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (host, path) = line.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { child, host: host.into(), path: format!("/{path}") }
    }

    fn begin(&self, ask: &str, question: Value) -> BufReader<TcpStream> {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        connection.set_nodelay(true).unwrap();
        let (body, path, host) = (question.to_string(), &self.path, &self.host);
        let length = body.len();
        let request = format!(
            "POST {path}{ask} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).unwrap();
        BufReader::new(connection)
    }

    fn read(&self, turn: usize) -> Value {
        let question = json!({
            "page": "bench", "slot": "read", "dictionary": 0, "top": 8, "text": format!("{TEXT} {turn}"),
        });
        let answer = self.begin("read", question);
        let last = answer.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let last = last.filter(Value::is_object).last().expect("an answer");
        assert_eq!(last["done"], true, "{last}");
        last
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
