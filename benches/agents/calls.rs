//! Calls: the text of a script goes in, what it said comes out. They are all that a solver has.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The answer to a call.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// What was printed, and the value or the error as a reader sees them.
    pub text: String,
    /// The value of the last expression; one that is text in JSON is read.
    pub value: Value,
    pub is_error: bool,
}

/// What runs scripts in the folder of a question.
pub trait Calls {
    fn run(&mut self, script: &str) -> Reply;

    /// Looks something up in the reference and the guide.
    fn help(&mut self, query: &str) -> Reply;

    /// Returns how many calls were made.
    fn count(&self) -> usize;
}

/// The program whose calls are made.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    /// Files and folders that scripts may read besides those of their question.
    pub readable: Vec<PathBuf>,
}

impl Program {
    /// Returns a command in the folder of a question whose scripts may read what lies in it, and no other file: neither the
    /// truth nor a generator.
    fn within(&self, given: &Path) -> Command {
        let mut command = Command::new(&self.path);
        // What is written lies beside what is given, so that a question stays as it was asked.
        let out = given.with_file_name("out");
        let cache = given.with_file_name("cache");
        command.args(["--quiet", "--deny-read", "/", "--out"]).arg(&out);
        let own = [given, &out, &cache].map(Path::to_path_buf);
        for folder in own.iter().chain(&self.readable) {
            command.arg("--allow-read").arg(folder);
        }
        command.env("MICROTOME_CACHE", cache).env("HF_HUB_OFFLINE", "1").current_dir(given);
        command
    }

    /// Starts a server of the Model Context Protocol in the folder of a question.
    pub fn served(&self, given: &Path) -> std::io::Result<Served> {
        let mut command = self.within(given);
        let mut child =
            command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped")
        };
        let mut served = Served { child, input: Some(input), output: BufReader::new(output), sent: 0, count: 0 };
        served.ask(
            "initialize",
            &json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": { "name": "benches/agents", "version": env!("CARGO_PKG_VERSION") },
            }),
        )?;
        served.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(served)
    }
}

/// A server as a child process; messages are lines of JSON on its standard input and output.
pub struct Served {
    child: Child,
    /// Taken when the server is told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    sent: u64,
    count: usize,
}

impl Served {
    fn send(&mut self, message: &Value) -> std::io::Result<()> {
        let Some(input) = &mut self.input else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        writeln!(input, "{message}")?;
        input.flush()
    }

    /// Sends a request and waits for its answer; notifications in between are passed over.
    fn ask(&mut self, method: &str, params: &Value) -> std::io::Result<Value> {
        self.sent += 1;
        let id = self.sent;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err(std::io::Error::other(format!("the server ended before it answered `{method}`")));
            }
            let message: Value = serde_json::from_str(&line)?;
            if message["id"] == id && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }
}

impl Served {
    /// Calls a tool.
    fn tool(&mut self, name: &str, arguments: &Value) -> Reply {
        self.count += 1;
        let answer = match self.ask("tools/call", &json!({ "name": name, "arguments": arguments })) {
            Ok(answer) => answer,
            Err(e) => return Reply { text: e.to_string(), is_error: true, ..Reply::default() },
        };
        let Some(result) = answer.get("result") else {
            return Reply { text: answer["error"].to_string(), is_error: true, ..Reply::default() };
        };
        let parts = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        let text = text.join("\n");
        // A long value is not in the data of a reply, but in its text.
        let data = &result["structuredContent"]["value"]["data"];
        Reply { value: value(data, &text), is_error: result["isError"] == true, text }
    }
}

impl Calls for Served {
    fn run(&mut self, script: &str) -> Reply {
        self.tool("run", &json!({ "script": script }))
    }

    fn help(&mut self, query: &str) -> Reply {
        self.tool("help", &json!({ "query": query }))
    }

    fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A server ends with its input; one that does not is ended.
        drop(self.input.take());
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Reads a value that scripts write as text in JSON: the value itself, or the last line of what was said.
fn value(found: &Value, text: &str) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    match found {
        Value::String(text) => read(text).unwrap_or_else(|| found.clone()),
        Value::Null => text.trim().lines().last().and_then(read).unwrap_or_default(),
        other => other.clone(),
    }
}
