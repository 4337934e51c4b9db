//! An editor that speaks the language server protocol with a server which it starts.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Time that an answer may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An editor: it writes messages, and reads those of the server.
pub struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    folder: PathBuf,
    next: i64,
}

/// Reads a message; none at the end.
fn message(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", number)) => length = number.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut content = vec![0; length];
    output.read_exact(&mut content).unwrap();
    Some(serde_json::from_slice(&content).unwrap())
}

impl Editor {
    /// Starts the server in a folder, which has its home and its cache, too.
    pub fn started(program: &str, folder: &Path) -> Self {
        Self::started_with(program, folder, &[])
    }

    /// Starts the server with options of the program.
    pub fn started_with(program: &str, folder: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(options).arg("lsp").current_dir(folder).env("HOME", folder).env("MICROTOME_PATH", "");
        command.env("MICROTOME_CACHE", folder.join("cache")).env("XDG_CONFIG_HOME", folder.join("config"));
        command.env("HF_HOME", folder.join("hub")).env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE");
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("stderr.txt")).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = message(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { input: server.stdin.take(), server, messages, folder: folder.to_path_buf(), next: 0 }
    }

    /// Starts an editor that has greeted the server.
    pub fn begun(program: &str, folder: &Path) -> Self {
        Self::started(program, folder).greeted(json!({}))
    }

    /// Greets the server, with what the editor says of itself.
    pub fn greeted(mut self, said: Value) -> Self {
        let mut params = json!({ "processId": null, "rootUri": null, "capabilities": {} });
        params.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let reply = self.request("initialize", params);
        assert_eq!(reply["result"]["serverInfo"]["name"], "microtome", "{reply}");
        assert_eq!(reply["result"]["capabilities"]["positionEncoding"], "utf-16", "{reply}");
        self.tell("initialized", json!({}));
        self
    }

    /// Writes bytes, a message or not.
    pub fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
        self.input.as_mut().unwrap().flush().unwrap();
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    /// Sends a notification.
    pub fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request, and waits for the reply.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        self.reply(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }))
    }

    /// Sends a message, and waits for the reply to its id.
    pub fn reply(&mut self, message: &Value) -> Value {
        self.send(message);
        self.answered(&message["id"])
    }

    /// Waits for the reply to a request by its id.
    pub fn answered(&self, id: &Value) -> Value {
        self.awaited(|message| message["id"] == *id)
    }

    /// Waits for an answer that is an error, whatever its id.
    pub fn refused(&self) -> Value {
        self.awaited(|message| message["error"].is_object())
    }

    /// Waits for a request or a notification of the server by its method.
    pub fn told(&self, method: &str) -> Value {
        self.awaited(|message| message["method"] == method)
    }

    fn awaited(&self, is_awaited: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap();
            if is_awaited(&message) {
                return message;
            }
        }
    }

    /// Sends a request that has to succeed, and returns its result.
    pub fn result(&mut self, method: &str, params: Value) -> Value {
        let reply = self.request(method, params);
        assert!(reply["error"].is_null(), "{method}: {reply}");
        reply["result"].clone()
    }

    /// Returns the address of a file in the folder.
    pub fn uri(&self, name: &str) -> String {
        format!("file://{}", self.folder.join(name).display())
    }

    /// Opens a text, and returns its address.
    pub fn open(&mut self, name: &str, text: &str) -> String {
        let uri = self.uri(name);
        let document = json!({ "uri": uri, "languageId": "rhai", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        uri
    }

    /// Changes an open text.
    pub fn change(&mut self, uri: &str, version: i64, changes: Value) {
        let document = json!({ "uri": uri, "version": version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// Waits for what is said of a version of a text.
    pub fn mistakes(&self, uri: &str, version: i64) -> Vec<Value> {
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap();
            let params = &message["params"];
            let is_published = message["method"] == "textDocument/publishDiagnostics";
            if is_published && params["uri"] == uri && params["version"] == version {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }

    /// Asks about the place of a text that is marked by `¦`.
    pub fn at(&mut self, method: &str, name: &str, marked: &str, more: Value) -> Value {
        let uri = self.open(name, &marked.replace('¦', ""));
        let before = &marked[..marked.find('¦').unwrap()];
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().unwrap().encode_utf16().count();
        let mut params =
            json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": character } });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.result(method, params)
    }

    /// Closes the standard input of the server.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Waits for the end of the server, and returns its exit code and what it said on standard error.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            match self.server.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(begun.elapsed() < PATIENCE, "the server does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        (status.code(), std::fs::read_to_string(self.folder.join("stderr.txt")).unwrap())
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _waited = self.server.wait();
    }
}
