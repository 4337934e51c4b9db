//! `microtome serve` as a program: its answers beside what a script computes, their form beside the published one, and
//! clients that ask for what there is not, come together, and leave in the middle.
//!
//! `MICROTOME_PYTHON` names a Python that has neuronpedia-inference-client, their client. Where `MICROTOME_OPENAPI` names
//! Neuronpedia's `apps/inference/openapi.json`, the program that `MICROTOME_SCHEMATHESIS` names asks by it. Without these the
//! tests say that they are skipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use microtome::base::Task;
use microtome::script::engine::value;
use serde_json::{Value, json};

use crate::python;
use crate::support;

/// A small dictionary of `tiny`, and what a script finds with it.
const MADE: &str = r#"
    let m = model::load("tiny");
    let line = "";
    for i in 0..60 { line += "The dog (a small one) ran home, and she said that she had seen it before. "; }
    let s = sae::fit(m, "resid_post.3", data::texts([line]), #{ k: 8, d_sae: 96, steps: 5, seed: 1 });
    s.save("small");
    let text = "The dog (a small one) ran";
    let stream = m.cache(text, "resid_post.3", #{ bos: true })["resid_post.3"][0];
    // By the tokenizer's own rule there is no BOS token.
    let bare = m.cache(text, "resid_post.3")["resid_post.3"][0];
    let along = s.directions[5];
    let steer = hooks::add("resid_post.3", along, 30);
    #{
        text: text,
        ids: m.tokens(text, #{ bos: true }).ids,
        codes: s.encode(stream).to_array(),
        stream: stream.to_array(),
        direction: along.to_array(),
        along: tensor::einsum("pd,d->p", [bare, along]).to_array(),
        plain: m.generate(text, #{ tokens: 6, bos: true }),
        steered: m.generate(text, #{ tokens: 6, bos: true, hooks: steer }),
    }
"#;

/// The folder with the dictionary, and what the script found; made once for all tests.
fn made() -> &'static (tempfile::TempDir, Value) {
    static MADE_ONCE: OnceLock<(tempfile::TempDir, Value)> = OnceLock::new();
    MADE_ONCE.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = folder.path().to_path_buf();
        let found = support::on_large_stack(move || {
            let found = support::session(&place).eval("made", MADE).unwrap_or_else(|e| panic!("{}", e.message));
            value::json(&found, &Task::default()).unwrap()
        });
        (folder, found)
    })
}

/// The program, and where it listens.
struct Server {
    child: Child,
    host: String,
}

impl Server {
    fn start(key: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command
            .args(["serve", "--model", "tiny", "--source", "3-small=out/small", "--source", "3-stream=resid_post.3"])
            .args(["--token-limit", "64", "--port", "0"])
            .env_remove("INFERENCE_SERVER_SECRET")
            .current_dir(made().0.path())
            .stdout(Stdio::piped());
        if let Some(key) = key {
            command.env("INFERENCE_SERVER_SECRET", key);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line}")).to_string();
        Self { child, host }
    }

    /// Sends a request as it is, and returns a reader of the answer.
    fn send(&self, line: &str, headers: &[&str], body: &str) -> BufReader<TcpStream> {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let host = &self.host;
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n");
        // A server that refuses a body closes with some of it unread.
        let _closed = connection.write_all(format!("{head}{headers}\r\n{body}").as_bytes());
        BufReader::new(connection)
    }

    /// Returns the status of an answer, and its body: JSON, or a text.
    fn answer(&self, line: &str, headers: &[&str], body: &str) -> (u16, Value) {
        let mut text = Vec::new();
        let _reset = self.send(line, headers, body).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.answer(&format!("POST {path}"), &[JSON], &body.to_string())
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, found) = self.post(path, body);
        assert_eq!(status, 200, "{path} {found}");
        found
    }

    /// Asks for a continuation, frame by frame.
    fn stream(&self, tokens: usize) -> BufReader<TcpStream> {
        let mut request = continued(&json!([{ "model": "tiny", "source": "3-small", "index": 5, "strength": 30 }]));
        request["stream"] = true.into();
        request["nCompletionTokens"] = tokens.into();
        self.send("POST /v1/steer/completion", &[JSON], &request.to_string())
    }

    fn is_well(&self) {
        assert_eq!(self.answer("GET /health", &[], ""), (200, json!({ "status": "healthy" })));
        let found = self.ask("/v1/tokenize", &json!({ "model": "tiny", "text": "The dog", "prependBos": false }));
        let strings = found["tokenStrings"].as_array().unwrap();
        assert_eq!(strings.iter().filter_map(Value::as_str).collect::<String>(), "The dog");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

const JSON: &str = "Content-Type: application/json";

/// A request to continue the text of the script, greedily.
fn continued(features: &Value) -> Value {
    json!({
        "prompt": made().1["text"], "model": "tiny", "steerMethod": "SIMPLE_ADDITIVE", "normalizeSteering": false,
        "types": ["DEFAULT", "STEERED"], "features": features, "nCompletionTokens": 6, "temperature": 0,
        "strengthMultiplier": 1, "freqPenalty": 1, "seed": 16,
    })
}

/// The JSON of each frame of a stream, whatever is between them.
fn frames(answer: BufReader<TcpStream>) -> impl Iterator<Item = Value> {
    answer.lines().map_while(|line| line.ok()).filter_map(|line| {
        let frame = line.strip_prefix("data: ")?;
        Some(serde_json::from_str(frame).unwrap())
    })
}

/// The numbers of a column of rows.
fn column(rows: &Value, at: usize) -> Vec<f64> {
    rows.as_array().unwrap().iter().map(|row| row[at].as_f64().unwrap()).collect()
}

fn near(found: &Value, expected: &[f64]) -> bool {
    let found = found.as_array().unwrap();
    let is_near = |(a, b): (&Value, &f64)| (a.as_f64().unwrap() - b).abs() < 1e-3 * b.abs().max(1.0);
    found.len() == expected.len() && found.iter().zip(expected).all(is_near)
}

#[test]
fn the_answers_are_what_a_script_computes() {
    let script = &made().1;
    let server = Server::start(None);
    let text = &script["text"];
    let tokens = server.ask("/v1/tokenize", &json!({ "model": "tiny", "text": text }));
    assert_eq!((&tokens["tokens"], &tokens["prependBos"]), (&script["ids"], &json!(true)));
    // Activations of features are told without the BOS token.
    for (source, rows, feature) in [("3-small", &script["codes"], 5), ("3-stream", &script["stream"], 7)] {
        let request = json!({ "prompt": text, "model": "tiny", "source": source, "index": feature.to_string() });
        let found = server.ask("/v1/activation/single", &request);
        let expected = column(rows, feature);
        assert!(near(&found["activation"]["values"], &expected[1..]), "{found}");
        assert_eq!(found["tokens"].as_array().unwrap()[..], tokens["tokenStrings"].as_array().unwrap()[1..]);
    }
    let request = json!({ "prompt": text, "model": "tiny", "source_set": "small", "selected_sources": [],
                          "sort_by_token_indexes": [], "ignore_bos": false, "num_results": 5 });
    let all = server.ask("/v1/activation/all", &request);
    assert_eq!(all["tokens"], tokens["tokenStrings"]);
    let largest = |feature: usize| column(&script["codes"], feature).into_iter().fold(0.0, f64::max);
    let mut expected: Vec<f64> = (0..96).map(largest).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    let found: Value = all["activations"].as_array().unwrap().iter().map(|one| one["maxValue"].clone()).collect();
    assert!(near(&found, &expected[..5]), "{found} {expected:?}");
    for one in all["activations"].as_array().unwrap() {
        assert!(near(&one["values"], &column(&script["codes"], one["index"].as_u64().unwrap() as usize)));
    }
    let request = json!({ "prompt": text, "model": "tiny", "source": "3-small", "topK": 1, "ignoreBos": true });
    let top = server.ask("/v1/activation/topk-by-token", &request);
    for result in top["results"].as_array().unwrap() {
        let row = &script["codes"][result["tokenPosition"].as_u64().unwrap() as usize];
        let largest = row.as_array().unwrap().iter().filter_map(Value::as_f64).fold(0.0, f64::max);
        assert!(near(&json!([result["topFeatures"][0]["activationValue"]]), &[largest]), "{result}");
    }
    let direction = &script["direction"];
    let hook = "blocks.3.hook_resid_post";
    let request = json!({ "prompt": text, "model": "tiny", "vector": direction, "hook": hook });
    let along = server.ask("/v1/activation/single", &request);
    let expected: Vec<f64> = script["along"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert!(near(&along["activation"]["values"], &expected), "{along}");
    let features = json!([{ "model": "tiny", "source": "3-small", "index": 5, "strength": 30 }]);
    let found = server.ask("/v1/steer/completion", &continued(&features));
    let outputs = json!([
        { "type": "DEFAULT", "output": script["plain"] },
        { "type": "STEERED", "output": script["steered"] },
    ]);
    assert_eq!(found["outputs"], outputs);
    assert_ne!(script["plain"], script["steered"]);
    // The frames end with the same, and each goes on from the one before.
    let mut last = [String::new(), String::new()];
    for frame in frames(server.stream(6)) {
        for (number, last) in last.iter_mut().enumerate() {
            let output = frame["outputs"][number]["output"].as_str().unwrap();
            assert!(output.starts_with(last.as_str()), "{frame}");
            *last = output.into();
        }
    }
    assert_eq!(json!(last), json!([script["plain"], script["steered"]]));
    server.is_well();
}

#[test]
fn the_answers_have_the_published_form() {
    let protocol: Value = serde_json::from_str(include_str!("fixtures/neuronpedia/protocol.json")).unwrap();
    let server = Server::start(None);
    for one in protocol["requests"].as_array().unwrap() {
        let path = one["path"].as_str().unwrap();
        let found = server.ask(path, &one["request"]);
        shaped(&found, &one["answer"], &protocol["shapes"], path);
        // As earlier versions of the protocol have it.
        let older = renamed(&one["request"]);
        assert_eq!(server.ask(path, &older), found, "{path}");
    }
    let told = server.answer("GET /v1/capabilities", &[], "").1;
    assert_eq!((&told["model"], &told["sae_sets"]), (&json!("tiny"), &json!(["small", "stream"])));
}

/// Checks that a value has a form: its keys, and the kinds of what they lead to.
fn shaped(found: &Value, form: &Value, shapes: &Value, place: &str) {
    match form {
        Value::String(kind) => {
            let is = match kind.as_str() {
                "text" => found.is_string(),
                "truth" => found.is_boolean(),
                "number" => found.is_number(),
                "integer" => found.is_i64() || found.is_u64(),
                "object" => found.is_object(),
                name => return shaped(found, &shapes[name], shapes, place),
            };
            assert!(is, "{place}: expected {kind}, found {found}");
        }
        Value::Array(forms) => {
            let values = found.as_array().unwrap_or_else(|| panic!("{place}: expected an array, found {found}"));
            values.iter().for_each(|value| shaped(value, &forms[0], shapes, place));
        }
        Value::Object(fields) => {
            let values = found.as_object().unwrap_or_else(|| panic!("{place}: expected an object, found {found}"));
            let known = |key: &String| fields.contains_key(key) || fields.contains_key(&format!("{key}?"));
            assert!(values.keys().all(known), "{place}: {found}");
            for (key, form) in fields {
                let (key, may_lack) = key.strip_suffix('?').map_or((key.as_str(), false), |key| (key, true));
                let value = values.get(key).filter(|value| !(may_lack && value.is_null()));
                match value {
                    Some(value) => shaped(value, form, shapes, &format!("{place}.{key}")),
                    None => assert!(may_lack, "{place}: expected {key}, found {found}"),
                }
            }
        }
        other => panic!("{place}: {other} is no form"),
    }
}

/// A request with its keys in snake case.
fn renamed(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(renamed).collect(),
        Value::Object(fields) => {
            let snake = |key: &String| -> String {
                let letter = |c: char| if c.is_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.into() };
                key.chars().map(letter).collect()
            };
            Value::Object(fields.iter().map(|(key, value)| (snake(key), renamed(value))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn what_cannot_be_answered_is_refused_and_the_server_lives_on() {
    let server = Server::start(None);
    let single = |more: Value| {
        let mut request = json!({ "prompt": "The dog", "model": "tiny", "source": "3-small", "index": "5" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/activation/single", &request)
    };
    for (more, words) in [
        (json!({ "model": "gpt2-small" }), "--name gpt2-small"),
        (json!({ "source": "4-small" }), "expected a source that is served (3-small, 3-stream)"),
        (json!({ "index": "96" }), "expected a feature below 96"),
        (json!({ "index": "five" }), "expected a feature as a whole number"),
        (json!({ "prompt": "dog ".repeat(200) }), "tokens, max is 64"),
        (json!({ "source": null }), "expected either"),
    ] {
        let (status, found) = single(more);
        assert!(status == 400 && found["error"].as_str().unwrap().contains(words), "{found}");
    }
    let (status, found) = single(json!({ "prompt": 3 }));
    assert_eq!((status, &found["detail"][0]["loc"][0]), (422, &json!("body")));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "null", "[]", "\u{0}", &deep] {
        let (status, found) = server.answer("POST /v1/activation/single", &[JSON], body);
        assert!(status == 422 && found["detail"][0]["msg"].is_string(), "{found}");
    }
    let features = |feature: Value| continued(&json!([feature]));
    let away = features(json!({ "model": "tiny", "source": "3-small", "index": 96, "strength": 1 }));
    assert_eq!(server.post("/v1/steer/completion", &away).0, 400);
    let mut method = features(json!({ "model": "tiny", "source": "3-small", "index": 5, "strength": 1 }));
    method["steerMethod"] = "OTHER".into();
    assert_eq!(server.post("/v1/steer/completion", &method).0, 422);
    let (status, found) = server.post("/v1/steer/completion-chat", &chat());
    assert!(status == 400 && found["error"].as_str().unwrap().contains("no chat template"), "{found}");
    // Another version of the protocol, endpoints that are not here, and another method.
    for path in ["/v2/activation/single", "/v1/lens/prompt", "/", "/v1"] {
        let (status, found) = server.post(path, &json!({}));
        assert!(status == 404 && found["detail"].as_str().unwrap().contains("/v1/capabilities"), "{path} {found}");
    }
    assert_eq!(server.answer("GET /v1/tokenize", &[], "").0, 405);
    assert_eq!(server.answer("POST /v1/tokenize", &["Content-Type: text/plain"], "{}").0, 415);
    assert_eq!(server.answer("POST /initialize", &[], "").0, 200);
    assert_eq!(server.answer("POST /initialize?custom_hf_model_id=gpt2", &[], "").0, 400);
    let large = format!(r#"{{"model": "tiny", "text": "{}"}}"#, "a".repeat(2 << 20));
    let status = server.answer("POST /v1/tokenize", &[JSON], &large).0;
    // The answer may be lost with the connection, which is closed before all is sent.
    assert!([413, 0].contains(&status), "{status}");
    for stranger in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Host: evil.example"] {
        assert_eq!(server.answer("GET /v1/capabilities", &[stranger], "").0, 403, "{stranger}");
    }
    server.is_well();
}

/// A request to continue a chat.
fn chat() -> Value {
    let mut request = continued(&json!([{ "model": "tiny", "source": "3-small", "index": 5, "strength": 1 }]));
    request["prompt"] = json!([{ "role": "user", "content": "Hello" }]);
    request["steerSpecialTokens"] = false.into();
    request
}

#[test]
fn clients_that_come_together_or_leave_disturb_nobody() {
    let server = Server::start(None);
    let request = json!({ "prompt": "The dog ran", "model": "tiny", "source": "3-small", "index": "5" });
    let alone = server.ask("/v1/activation/single", &request);
    std::thread::scope(|scope| {
        let ask = || server.ask("/v1/activation/single", &request);
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let streaming = scope.spawn(|| frames(server.stream(20)).count());
        asking.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), alone));
        assert!(streaming.join().unwrap() > 1);
    });
    // More streams than are computed at a time, each left after its first frame: what nobody hears is not computed.
    for _ in 0..6 {
        assert!(frames(server.stream(120)).next().is_some());
    }
    let begun = Instant::now();
    assert_eq!(server.ask("/v1/activation/single", &request), alone);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let stalled: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(&server.host).unwrap()).collect();
    server.is_well();
    drop(stalled);
}

#[test]
fn a_key_is_asked_for_where_there_is_one() {
    let server = Server::start(Some("a secret"));
    let ask = |headers: &[&str]| server.answer("GET /v1/capabilities", headers, "");
    assert_eq!(ask(&[]).0, 401);
    for wrong in ["X-SECRET-KEY: another", "X-SECRET-KEY: a secre", "X-SECRET-KEY: "] {
        let (status, found) = ask(&[wrong]);
        assert!(status == 401 && found["error"].is_string(), "{found}");
    }
    assert_eq!(ask(&["X-SECRET-KEY: a secret"]).0, 200);
    assert_eq!(server.answer("GET /health", &[], "").0, 200);
}

#[cfg(unix)]
#[test]
fn an_interruption_ends_it_with_a_stream_open() {
    let mut server = Server::start(None);
    let mut open = frames(server.stream(120));
    assert!(open.next().is_some());
    assert!(Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap().success());
    let begun = Instant::now();
    while server.child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_does_not_fit_is_refused_before_it_listens() {
    for (source, words) in [("3-small", "expected a source as ID=DICTIONARY"), ("small=resid_post.3", "LAYER-SET")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        let command = command.args(["serve", "--model", "tiny", "--port", "0", "--source", source]);
        let output = command.current_dir(made().0.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
}

#[test]
fn their_client_for_python_reads_the_answers() {
    let Some(python) = python::python("MICROTOME_PYTHON", "neuronpedia-inference-client") else {
        assert!(std::env::var_os("CI").is_none(), "MICROTOME_PYTHON is not set, and .ci/run sets it");
        return;
    };
    let server = Server::start(None);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/client.py");
    let output = Command::new(python).arg(script).arg(format!("http://{}", server.host)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "answered\n", "{}", String::from_utf8_lossy(&output.stderr));
    server.is_well();
}

#[test]
fn the_published_description_is_kept() {
    let file = |variable: &str, what: &str| {
        let named = support::named(variable, what, |path| path.is_file())?;
        std::path::absolute(named).ok()
    };
    let description = file("MICROTOME_OPENAPI", "Neuronpedia's apps/inference/openapi.json");
    let program = file("MICROTOME_SCHEMATHESIS", "the program schemathesis (4.32.5)");
    let Some((description, program)) = description.zip(program) else { return };
    let server = Server::start(None);
    // It keeps what it found in the folder where it runs.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["run", "--url", &format!("http://{}", server.host), "--max-examples", "20"])
        // Their own server, too, answers 400 where the description has 200 and 422 alone.
        .args(["--checks", "not_a_server_error,response_schema_conformance"]);
    let protocol: Value = serde_json::from_str(include_str!("fixtures/neuronpedia/protocol.json")).unwrap();
    for one in protocol["requests"].as_array().unwrap() {
        command.args(["--include-path", one["path"].as_str().unwrap()]);
    }
    let output = command.args(["--include-path", "/health"]).arg(description).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    server.is_well();
}
