//! The explorer as a program beside a bench, asked over a socket.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const ASKED: usize = 200;
const WARMING: usize = 20;

/// About fifty tokens of `tiny`; digits at the end make each another text.
const TEXT: &str = "The old man (who had never seen the sea) looked at the letter, and then he read it again: \
                    \"Come home, before the winter comes, and bring the children with you.\" He said that the old house was far";

/// The explorer as a program of its own, which ends with this.
pub struct Server {
    child: Child,
    host: String,
    path: String,
}

impl Server {
    /// Starts it on a model, with a dictionary and a text.
    pub fn start(model: &str, dictionary: &str, text: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
            .args(["--quiet", "explore", "--model", model, "--dictionary", dictionary])
            .args(text)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (host, path) = line.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { child, host: host.into(), path: format!("/{path}") }
    }

    /// Asks a question, and returns what its answer is read from.
    pub fn begin(&self, ask: &str, question: Value) -> BufReader<TcpStream> {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        connection.set_nodelay(true).unwrap();
        let body = question.to_string();
        let path = &self.path;
        let host = &self.host;
        let length = body.len();
        let request = format!(
            "POST {path}{ask} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).unwrap();
        BufReader::new(connection)
    }

    /// Returns the median and the 95th percentile of requests, each of another text of at least so many tokens.
    pub fn asked(&self, first: usize, least: usize) -> (Duration, Duration) {
        for turn in 0..WARMING {
            self.read(first + turn);
        }
        let mut times: Vec<Duration> = (0..ASKED)
            .map(|turn| {
                let begin = Instant::now();
                let answer = self.read(first + WARMING + turn);
                let time = begin.elapsed();
                let tokens = answer["tokens"].as_array().unwrap().len();
                assert!(tokens >= least, "the text has {tokens} tokens");
                time
            })
            .collect();
        times.sort();
        (times[ASKED / 2], times[ASKED * 95 / 100])
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
