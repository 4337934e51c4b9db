//! The server of the Model Context Protocol, with the clients that people have: the SDKs for Python and TypeScript and the
//! inspector's command line; and with clients that mean harm, frame by frame.
//!
//! `MICROTOME_PYTHON` names a Python with the SDK, `MICROTOME_NODE` a folder whose `node_modules` has what
//! `tests/mcp/package.json` names; without them the tests say that they are skipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use microtome::script::docs::skill;
use serde_json::{Value, json};

use crate::support::{self, client, printed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_microtome");

/// Time that an answer may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command in a folder, without anybody's settings.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("MICROTOME_RC", "")
        .env("MICROTOME_CACHE", folder.join("cache"));
    command
}

/// The Python with the SDK, or None and a word that the test is skipped.
pub fn python() -> Option<PathBuf> {
    let has_sdk = |python: &PathBuf| {
        Command::new(python).args(["-c", "import mcp.client"]).output().is_ok_and(|output| output.status.success())
    };
    client("MICROTOME_PYTHON", "a Python that has the SDK of the Model Context Protocol", has_sdk)
}

/// The folder with the clients for Node, or None and a word that the test is skipped.
fn node() -> Option<PathBuf> {
    let has_clients = |folder: &PathBuf| folder.join("node_modules/@modelcontextprotocol/inspector").is_dir();
    client("MICROTOME_NODE", "a folder that has the clients of tests/mcp/package.json", has_clients)
}

/// Repeats a recorded session as a run, and compares.
fn repeated(record: &Path, folder: &Path) -> String {
    let output = command(Path::new(PROGRAM), folder).args(["run", "--again"]).arg(record).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    said
}

#[test]
fn the_sdk_for_python_is_answered_in_both_versions() {
    let Some(python) = python() else { return };
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = command(&python, folder.path());
        client.args(["-W", "ignore", "-c", include_str!("mcp/client.py"), PROGRAM, mode]);
        let said = printed(&mut client);
        assert!(said.contains("answered") && said.contains(version), "{said}");
        // What was cancelled cannot be repeated, but the record is one.
        let record = said.lines().find_map(|line| line.strip_prefix("record ")).unwrap();
        let text = std::fs::read_to_string(record).unwrap();
        assert!(text.contains("\"outcome\": \"done\"") && text.contains("main.rhai"), "{text}");
    }
}

#[test]
fn both_sdks_for_typescript_are_answered() {
    let Some(node) = node() else { return };
    let script = node.join("client.mjs");
    std::fs::write(&script, include_str!("mcp/client.mjs")).unwrap();
    for which in ["sdk", "client"] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = command(&node.join("node_modules/.bin/node"), folder.path());
        let said = printed(client.arg(&script).args([which, PROGRAM]));
        assert!(said.contains("answered"), "{said}");
    }
}

#[test]
fn the_inspectors_command_line_is_answered() {
    let Some(node) = node() else { return };
    let folder = tempfile::tempdir().unwrap();
    let inspected = |words: &[&str]| {
        let mut client = command(&node.join("node_modules/.bin/node"), folder.path());
        client.arg(node.join("node_modules/.bin/mcp-inspector")).args(["--cli", PROGRAM, "mcp"]).args(words);
        printed(&mut client)
    };
    assert!(inspected(&["--method", "tools/list"]).contains("\"history\""));
    assert!(inspected(&["--method", "resources/list"]).contains("microtome://glossary"));
    assert!(inspected(&["--method", "prompts/list"]).contains("train_dictionary"));
    let called = inspected(&["--method", "tools/call", "--tool-name", "run", "--tool-arg", "script=6 * 7"]);
    assert!(called.contains("42"), "{called}");
}

/// A client that writes frames as they are.
struct RawClient {
    server: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
    next: i64,
}

impl RawClient {
    fn started(folder: &Path, words: &[&str]) -> Self {
        let mut server = command(Path::new(PROGRAM), folder)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("stderr.txt")).unwrap())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(server.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                assert!(line.len() < 4 << 20);
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { input: server.stdin.take(), server, lines, next: 0 }
    }

    fn begun(folder: &Path) -> Self {
        let mut client = Self::started(folder, &["mcp"]);
        client.begin();
        client
    }

    fn begin(&mut self) {
        let about = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let reply = self.request("initialize", about);
        assert_eq!(reply["result"]["protocolVersion"], "2025-11-25");
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn send(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
        self.input.as_mut().unwrap().flush().unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> i64 {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        id
    }

    fn reply(&self, id: i64) -> Value {
        loop {
            let message = self.lines.recv_timeout(PATIENCE).unwrap();
            if message["id"] == id {
                return message;
            }
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.reply(id)
    }

    fn tool(&mut self, name: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": name, "arguments": arguments }))["result"].clone()
    }

    fn run(&mut self, script: &str) -> Value {
        self.tool("run", json!({ "script": script }))
    }

    fn cancel(&mut self, id: i64) {
        let params = json!({ "requestId": id });
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string());
    }

    /// Closes standard input, and waits for the end.
    fn close(mut self) -> Duration {
        drop(self.input.take());
        let begun = Instant::now();
        assert!(self.server.wait().unwrap().success());
        begun.elapsed()
    }

    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _waited = self.server.wait();
    }
}

fn text(reply: &Value) -> &str {
    reply["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn broken_frames_and_unknown_methods_leave_the_session_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = RawClient::begun(folder.path());
    assert_eq!(text(&client.run("let kept = 7; kept")), "7\n");
    let frames: [&[u8]; 12] = [
        b"{",
        b"}\x00",
        b"[[[",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"\"\"",
        b"{}",
        b"{\"jsonrpc\": \"1.0\", \"id\": 1}",
        b"{\"jsonrpc\": \"2.0\", \"method\": 7}",
        b"",
        b"\r",
    ];
    for frame in frames {
        client.write(frame);
        client.write(b"\n");
    }
    client.send(&"[".repeat(100_000));
    client.send(&format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)));
    assert_eq!(client.request("no/such/method", json!({}))["error"]["code"], -32601);
    assert_eq!(client.request("tools/call", json!({ "name": "rm", "arguments": {} }))["error"]["code"], -32602);
    assert!(client.request("tools/call", json!({ "name": 7 }))["error"].is_object());
    let error = |client: &mut RawClient, method: &str, params: Value| client.request(method, params)["error"].clone();
    let unknown = error(&mut client, "resources/read", json!({ "uri": "file:///etc/passwd" }));
    assert_eq!((&unknown["code"], &unknown["data"]["kind"]), (&json!(-32002), &json!("name")), "{unknown}");
    let outside = error(&mut client, "resources/read", json!({ "uri": "microtome://reports/../secret" }));
    assert_eq!((&outside["code"], &outside["data"]["kind"]), (&json!(-32602), &json!("access")), "{outside}");
    let near = error(&mut client, "prompts/get", json!({ "name": "find_head" }));
    assert_eq!(
        (&near["code"], &near["data"]["hint"]),
        (&json!(-32602), &json!("did you mean `find_heads`?")),
        "{near}"
    );
    assert_eq!(text(&client.run("kept")), "7\n");
    client.close();
}

/// A frame of a gibibyte is refused without taking memory for it, and says so.
#[test]
fn a_frame_that_is_too_long_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = RawClient::begun(folder.path());
    assert_eq!(text(&client.run("let kept = 7; kept")), "7\n");
    let before = client.resident();
    client.write(b"{\"jsonrpc\": \"2.0\", \"id\": 99, \"method\": \"tools/call\", \"params\": {\"name\": \"");
    let piece = vec![b'a'; 1 << 20];
    let mut most = 0;
    for _ in 0..1024 {
        client.write(&piece);
        most = most.max(client.resident());
    }
    client.write(b"\"}}\n");
    assert_eq!(text(&client.run("kept")), "7\n");
    assert!(most < before + (200 << 20), "{before} {most}");
    client.close();
    let said = std::fs::read_to_string(folder.path().join("stderr.txt")).unwrap();
    assert!(said.contains("a message of more than 16.0 MiB is not read"), "{said}");
}

#[test]
fn a_thousand_cancelled_calls_leave_the_session_working() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = RawClient::begun(folder.path());
    assert_eq!(text(&client.run("let kept = 7; kept")), "7\n");
    let ids: Vec<i64> = (0..1000)
        .map(|_| {
            let script = "let n = 0; loop { n += 1; }";
            client.ask("tools/call", json!({ "name": "run", "arguments": { "script": script } }))
        })
        .collect();
    ids.iter().rev().for_each(|id| client.cancel(*id));
    assert_eq!(text(&client.run("kept")), "7\n");
    client.close();
}

/// A client that dies in the middle of a call, or of a frame: the session's script and record are there.
#[test]
fn a_client_that_dies_leaves_the_script_and_the_record() {
    for death in ["in a call", "in a frame"] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = RawClient::begun(folder.path());
        client.run("let kept = tensor::randn([2], #{ seed: 1 }); print(kept.sum());");
        client.run("table([#{ a: 1 }]).save(\"main/t.csv\"); kept.len");
        if death == "in a call" {
            client
                .ask("tools/call", json!({ "name": "run", "arguments": { "script": "let n = 0; loop { n += 1; }" } }));
            std::thread::sleep(Duration::from_millis(300));
        } else {
            client.write(b"{\"jsonrpc\": \"2.0\", \"id\": 5, \"meth");
        }
        let took = client.close();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let script = std::fs::read_to_string(folder.path().join("out/main/main.rhai")).unwrap();
        assert!(script.contains("let kept = tensor::randn([2], #{ seed: 1 });"), "{script}");
        assert_eq!(script.contains("// loop { n += 1; }"), death == "in a call", "{script}");
        let record = folder.path().join("out/main/run.json");
        let said = repeated(&record, folder.path());
        assert!(said.contains("identical"), "{death}: {said}");
    }
}

#[test]
fn what_a_session_did_is_the_same_when_its_script_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = RawClient::started(folder.path(), &["--seed", "5", "mcp"]);
    client.begin();
    client.run("let x = tensor::randn([3]); print(x.sum());");
    client.run("import \"std/stats\" as stats; show(stats::interval(x.to_array()));");
    client.run("let y = x + nope;");
    client.run("x.sum()");
    client.run(
        "let z = ans * 2; report(\"page\", [`${z}`, plot::line(x)]).save(); run::check(z == z, \"it is itself\");",
    );
    let saved = client.tool("save", json!({ "file": "copy.ipynb" }));
    assert!(text(&saved).contains("run --again"), "{saved}");
    client.close();
    assert!(folder.path().join("out/copy.ipynb").is_file() && folder.path().join("out/main/page/index.html").is_file());
    let said = repeated(&folder.path().join("out/main/run.json"), folder.path());
    assert!(said.contains("identical"), "{said}");
}

/// Sessions of two programs in one folder have folders of their own.
#[test]
fn sessions_do_not_overwrite_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = RawClient::begun(folder.path());
    let mut other = RawClient::begun(folder.path());
    one.run("let a = 1;");
    other.run("let b = 1;");
    other.tool("run", json!({ "script": "let c = 1;", "session": "second" }));
    other.tool("reset", json!({}));
    other.run("let d = 1;");
    one.close();
    other.close();
    for (name, code) in [("main", "let a"), ("main-2", "let b"), ("second", "let c"), ("main-3", "let d")] {
        let script = std::fs::read_to_string(folder.path().join(format!("out/{name}/{name}.rhai"))).unwrap();
        assert!(script.contains(code), "{name}: {script}");
    }
}

#[test]
fn permissions_are_the_persons_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(folder.path().join("beside.txt"), "secret words").unwrap();
    std::fs::write(work.join("inside.txt"), "open words").unwrap();
    let read = |path: &str| format!("data::text({path:?}).documents(1)[0].text");
    let mut client = RawClient::begun(&work);
    assert_eq!(text(&client.run(&read("inside.txt"))), "open words\n");
    for path in ["../beside.txt", "../nothing.txt", "/etc/hosts"] {
        let reply = client.run(&read(path));
        let error = &reply["structuredContent"]["error"];
        assert_eq!(error["kind"], "access", "{reply}");
        assert!(error["hint"].as_str().unwrap().contains("--allow-read"), "{reply}");
        assert!(!reply.to_string().contains("secret"), "{reply}");
    }
    let reply = client.run("model::load(\"org/name\")");
    let words = reply["structuredContent"]["error"].to_string();
    assert!(words.contains("--allow-read") || words.contains("--allow-net"), "{words}");
    client.close();
    let mut client = RawClient::started(&work, &["--allow-read", "..", "mcp"]);
    client.begin();
    assert_eq!(text(&client.run(&read("../beside.txt"))), "secret words\n");
    client.close();
}

#[test]
fn the_skill_names_calls_that_there_are() {
    let (unknown, text) = support::on_large_stack(|| {
        let docs = support::docs();
        (skill::unknown(&docs), skill::text(&docs))
    });
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(text.starts_with("---\nname: microtome\ndescription: ") && text.contains("- `resid_post.N`: "), "{text}");
    assert!(text.len() < 26_000, "{}", text.len());
}

#[test]
fn clients_are_told_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    for (client, file) in [
        ("claude", ".mcp.json"),
        ("cursor", ".cursor/mcp.json"),
        ("vscode", ".vscode/mcp.json"),
        ("zed", ".zed/settings.json"),
        ("codex", ".codex/config.toml"),
    ] {
        let words = ["--allow-read", "data", "mcp", "--time", "60", "--install", client];
        let place = printed(command(Path::new(PROGRAM), folder.path()).args(words));
        assert!(place.trim().ends_with(file), "{place}");
        let mut text = String::new();
        std::fs::File::open(place.trim()).unwrap().read_to_string(&mut text).unwrap();
        let data = folder.path().canonicalize().unwrap().join("data").display().to_string();
        assert!(text.contains("mcp") && text.contains("--time") && text.contains(&data), "{text}");
    }
}
