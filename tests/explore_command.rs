//! `microtome explore` as a program, and the scripts that it saves: they find the numbers that the page showed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::explorer::answers::{Question, answer};
use microtome::explorer::{Explorer, ExplorerInputs};
use microtome::script::engine::value;
use microtome::tensor::Device;
use serde_json::{Value, json};

use crate::support::{self, ended, microtome, printed};

/// A model of words with dictionaries at both layers, saved in a folder.
const MADE: &str = r#"
    let words = ["a", "b", "c", "(", ")", "שלום", "<b>"];
    let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 7, context: 16 }, #{ words: words, seed: 1 });
    m.save("model");
    // Dictionaries know their model by the name that it was loaded by.
    let m = model::load("model");
    let line = "";
    for i in 0..300 { line += words[(i * i + 2 * i + div(i, 7)) % 7] + " "; }
    let saes = sae::fit_all(m, "resid_post.*", data::texts([line]), #{ k: 3, d_sae: 24, steps: 3, seed: 1 });
    saes[0].save("low");
    saes[1].save("high");
    let texts = [[1, 2, 3, 4, 5, 6], [0, 2, 4, 1, 3, 5]];
    m.tuned_lens(texts, #{ steps: 2, seed: 1 }).save("tuned.safetensors");
    m.jacobian_lens(texts, #{ skip_first: 0 }).save("jacobian.safetensors");
    line
"#;

/// The folder with what is made, and the text beside it.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_path_buf();
    support::on_large_stack(move || {
        let line = support::session(&place).eval("made", MADE).unwrap().into_string().unwrap();
        std::fs::write(place.join("text.txt"), line).unwrap();
    });
    folder
}

fn plan(folder: &Path) -> ExplorerInputs {
    let path = |name: &str| folder.join(name).display().to_string();
    ExplorerInputs {
        model: path("out/model"),
        dictionaries: vec![path("out/low"), path("out/high")],
        lenses: vec![path("out/tuned.safetensors"), path("out/jacobian.safetensors")],
        text: path("text.txt"),
        tokens: 200,
        descriptions: None,
    }
}

fn near(a: &Value, b: &Value) -> bool {
    kit::close(a, b, 1e-4)
}

/// Rows with a feature first, by feature.
fn by_feature(rows: &Value, columns: usize) -> Vec<Vec<Value>> {
    let row = |row: &Value| row.as_array().unwrap()[..columns].to_vec();
    let mut rows: Vec<Vec<Value>> = rows.as_array().unwrap().iter().map(row).collect();
    rows.sort_by_key(|row| row[0].as_i64());
    rows
}

fn same_rows(found: &Value, shown: &Value, columns: usize) {
    let found = by_feature(found, columns);
    let shown = by_feature(shown, columns);
    assert_eq!(found.len(), shown.len());
    for (found, shown) in found.iter().zip(&shown) {
        assert!(found.iter().zip(shown).all(|(a, b)| near(a, b)), "{found:?} {shown:?}");
    }
}

#[test]
fn a_saved_script_finds_what_was_shown() {
    let folder = made();
    let place = folder.path().to_path_buf();
    support::on_large_stack(move || {
        let task = Task::default();
        let files = Files::unrecorded(&place.join("out")).unwrap();
        let explorer = Explorer::load(plan(&place), &files, &Device::Cpu, &task).unwrap();
        let mut said = Vec::new();
        let mut ask = |name: &str, question: &Value| {
            let question = Question::parse(name, question.clone()).unwrap();
            answer(&explorer, question, &mut |line| said.push(line), &task).unwrap()
        };
        let text = "a ( b c ) a <b>";
        let read = json!({ "text": "( a b ) c שלום", "dictionary": 1 });
        let shown = ask("read", &read);
        let feature = shown["active"][0][0].as_u64().unwrap();
        let changes = json!([
            { "dictionary": 1, "feature": feature, "action": "scale", "value": 3.5 },
            { "dictionary": 0, "feature": 2, "action": "clamp", "value": -0.25 },
            { "dictionary": 0, "feature": 3, "action": "ablate" },
        ]);
        let going = json!({ "text": text, "changes": changes, "tokens": 5, "temperature": 0.8, "seed": 3 });
        let compare = json!({ "texts": ["a b c", "( ( שלום"], "dictionary": 0 });
        let of = json!({ "dictionary": 1, "feature": feature });
        let card = ask("card", &of);
        let compared = ask("compare", &compare);
        let tree = ask("tree", &of);
        // The same without position 0, of which other numbers are shown.
        let without = |question: &Value| {
            let mut question = question.clone();
            question["without_first"] = true.into();
            question
        };
        let [read_without, compare_without, card_without] = [&read, &compare, &of].map(without);
        let without = [("read", &read_without), ("compare", &compare_without), ("card", &card_without)];
        let [read_shown, compare_shown, card_shown] = without.map(|(name, question)| ask(name, question));
        ask("continue", &going);
        let by_lenses = json!({ "text": text });
        let lenses = ask("lenses", &by_lenses);
        let step = |name: &str, question: &Value| {
            let mut step = question.clone();
            step["ask"] = name.into();
            step
        };
        let steps = [("read", &read), ("continue", &going), ("card", &of), ("compare", &compare), ("tree", &of)];
        let steps = steps.into_iter().chain(without).chain([("lenses", &by_lenses)]);
        let steps: Vec<Value> = steps.map(|(name, question)| step(name, question)).collect();
        let saved = ask("save", &json!({ "steps": steps }));
        let script = std::fs::read_to_string(place.join("out/explore/explore-1.rhai")).unwrap();
        assert_eq!(saved["script"], *script);

        let mut session = support::session(&place);
        let found = session.eval("explore-1.rhai", &script).unwrap_or_else(|e| panic!("{}\n{script}", e.message));
        let found = value::json(&found, &task).unwrap();

        same_rows(&found[0]["active"]["rows"], &shown["active"], 4);
        let losses = found[0]["losses"].as_array().unwrap();
        assert_eq!(losses.len() + 1, shown["loss"].as_array().unwrap().len());
        assert!(losses.iter().zip(&shown["loss"].as_array().unwrap()[1..]).all(|(a, b)| near(a, b)));

        let next = said.iter().find(|line| line.get("kl").is_some()).unwrap();
        assert!(
            near(&found[1]["kl"], &next["kl"]) && next["kl"].as_f64().unwrap() > 1e-6,
            "{} {}",
            found[1]["kl"],
            next["kl"]
        );
        let probability = |table: &Value, token: &Value| {
            let rows = table["rows"].as_array().unwrap();
            rows.iter().find(|row| row[0] == *token).map(|row| row[2].clone())
        };
        for row in next["next"].as_array().unwrap() {
            let pair =
                [("next", 1), ("next_changed", 2)].map(|(name, at)| (probability(&found[1][name], &row[0]), &row[at]));
            // The model has fewer tokens than are listed, so all of them are.
            assert!(pair.iter().all(|(found, shown)| near(found.as_ref().unwrap(), shown)), "{pair:?}");
        }
        for side in ["before", "after"] {
            let heard: String = said.iter().filter_map(|line| line[side].as_str()).collect();
            assert_eq!(found[1][side], heard);
        }
        same_rows(&found[3]["features"]["rows"], &compared["features"], 5);
        let largest =
            |facts: &Value| facts.as_array().unwrap().iter().find(|fact| fact[0] == "largest code").unwrap()[1].clone();
        let facts = &found[2]["facts"]["fields"];
        assert!(near(&facts["largest code"], &largest(&card["card"]["facts"])), "{facts}");
        let edges = found[4]["edges"].as_array().unwrap();
        let grown = tree["tree"]["edges"].as_array().unwrap();
        assert_eq!(edges.len(), grown.len());
        assert!(
            !edges.is_empty() && edges.iter().zip(grown).all(|(a, b)| near(&a["effect"], &b[2])),
            "{edges:?} {grown:?}"
        );
        same_rows(&found[5]["active"]["rows"], &read_shown["active"], 4);
        same_rows(&found[6]["features"]["rows"], &compare_shown["features"], 5);
        assert!(read_shown["active"] != shown["active"] && compare_shown["features"] != compared["features"]);
        let read = |facts: &Value| facts.as_array().unwrap().iter().find(|fact| fact[0] == "positions read").cloned();
        let facts = &found[7]["facts"]["fields"];
        assert!(near(&facts["positions read"], &read(&card_shown["card"]["facts"]).unwrap()[1]), "{facts}");
        assert_ne!(read(&card_shown["card"]["facts"]), read(&card["card"]["facts"]));
        let read = found[8]["lenses"]["lenses"].as_array().unwrap();
        let names: Vec<&Value> = read.iter().map(|lens| &lens["name"]).collect();
        assert_eq!(names, ["logit lens", "tuned lens", "Jacobian lens"]);
        let shown = lenses["html"].as_str().unwrap();
        for (number, lens) in read.iter().enumerate() {
            for (layer, positions) in lens["guesses"].as_array().unwrap().iter().enumerate() {
                for (position, guesses) in positions.as_array().unwrap().iter().enumerate() {
                    let cell = format!("<td data-at=\"{number} {layer} {position}\"");
                    let cell = shown.split(&cell).nth(1).and_then(|rest| rest.split("</td>").next()).unwrap();
                    let token = guesses[0]["token"].as_str().unwrap().replace(' ', "␣");
                    let token = token.replace('<', "&lt;").replace('>', "&gt;");
                    assert!(cell.ends_with(&format!(">{token}")), "{cell} {token}");
                }
            }
        }
        assert!(place.join("out/explore-1/index.html").is_file());
    });
}

/// The program, and the address that it says.
struct ExploreProcess {
    child: Child,
    host: String,
    path: String,
}

impl ExploreProcess {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
            .arg("explore")
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (host, path) =
            line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line}")).split_once('/').unwrap();
        Self { host: host.into(), path: format!("/{path}"), child }
    }

    fn get(&self, name: &str) -> String {
        let mut text = String::new();
        let mut connection = TcpStream::connect(&self.host).unwrap();
        let path = &self.path;
        let host = &self.host;
        write!(connection, "GET {path}{name} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        connection.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for ExploreProcess {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn interrupted(running: &mut ExploreProcess) -> Option<i32> {
    assert!(Command::new("kill").args(["-INT", &running.child.id().to_string()]).status().unwrap().success());
    let begin = Instant::now();
    loop {
        if let Some(status) = running.child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "it did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
#[test]
fn the_program_says_where_it_is_and_ends_at_once() {
    let folder = made();
    let given = ["--model", "out/model", "--dictionary", "out/low", "--text", "text.txt"];
    let mut servers = [0, 1].map(|_| ExploreProcess::start(folder.path(), &given));
    for server in &servers {
        let start = server.get("start");
        assert!(start.starts_with("HTTP/1.1 200") && start.contains("\"name\":\"resid_post.0\""), "{start}");
        assert!(server.get("").contains("<!doctype html>") || server.get("").contains("<!DOCTYPE html>"));
    }
    // A page stays connected.
    let open: Vec<TcpStream> = servers.iter().map(|server| TcpStream::connect(&server.host).unwrap()).collect();
    assert_eq!(servers.each_mut().map(interrupted), [Some(130); 2]);
    drop(open);
}

#[cfg(unix)]
#[test]
fn the_folder_of_a_run_is_explored() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fit.rhai"), MADE).unwrap();
    std::fs::write(folder.path().join("nothing.rhai"), "1").unwrap();
    for script in ["fit.rhai", "nothing.rhai"] {
        printed(microtome(folder.path()).args(["-q", "run", script]));
    }
    let mut server = ExploreProcess::start(folder.path(), &["--run", "out/fit", "--text", "fit.rhai"]);
    let start = server.get("start");
    let start: Value = serde_json::from_str(start.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let names: Vec<&Value> = start["dictionaries"].as_array().unwrap().iter().map(|of| &of["name"]).collect();
    assert_eq!(start["lenses"], json!(["Jacobian lens", "tuned lens"]));
    assert_eq!((&start["model"], names), (&json!("out/model"), vec![&json!("resid_post.1"), &json!("resid_post.0")]));
    assert_eq!(interrupted(&mut server), Some(130));
    let none = microtome(folder.path()).args(["explore", "--run", "out/nothing"]).output().unwrap();
    let (_, _, said) = ended(&none);
    assert!(said.contains("expected a run that has saved a dictionary") && said.contains("hint:"), "{said}");
}
