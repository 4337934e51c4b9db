//! The page for those who come from Python: our lines hold, and the lines beside them in Python bind the same values.
//!
//! `MICROTOME_LENSES` names a Python that has transformer-lens, nnsight and peft, `MICROTOME_LOADERS` one that has sae-lens and
//! dictionary-learning, and `MICROTOME_GRAPHS` one that has circuit-tracer. `.ci/from-python` makes all three; without them the
//! test says that it is skipped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use microtome::script::Session;
use serde_json::{Value, json};

use crate::python;
use crate::support;

const NAME: &str = "from-python.md";

/// The name on the hub of the model that the lines in Python load; a folder of this name has the model of ours.
const MODEL: &str = "EleutherAI/pythia-70m";

/// A library of Python that the page speaks of.
struct Library {
    /// What stands behind `python` at the fences of its blocks.
    word: &'static str,
    /// The variable of the environment that names a Python with the library.
    variable: &'static str,
    /// How many values are compared at least.
    least: usize,
}

const LIBRARIES: [Library; 6] = [
    Library { word: "transformer_lens", variable: "MICROTOME_LENSES", least: 30 },
    Library { word: "nnsight", variable: "MICROTOME_LENSES", least: 12 },
    Library { word: "peft", variable: "MICROTOME_LENSES", least: 4 },
    Library { word: "sae_lens", variable: "MICROTOME_LOADERS", least: 9 },
    Library { word: "dictionary_learning", variable: "MICROTOME_LOADERS", least: 1 },
    Library { word: "circuit_tracer", variable: "MICROTOME_GRAPHS", least: 4 },
];

/// A fenced block of the page.
struct Block {
    /// What stands at its fence.
    info: String,
    /// The number of its first line of code.
    first: usize,
    code: String,
}

impl Block {
    /// The library that it is of, if it is in Python.
    fn library(&self) -> Option<&str> {
        self.info.strip_prefix("python").map(str::trim)
    }

    fn is_ours(&self) -> bool {
        self.info == "rhai here"
    }

    /// The code at the lines where it is on the page.
    fn placed(&self) -> String {
        format!("{}{}", "\n".repeat(self.first - 1), self.code)
    }

    /// The variables that a block of ours binds.
    fn bound(&self) -> impl Iterator<Item = &str> {
        self.code.lines().filter_map(|line| line.strip_prefix("let ")?.split_once(" = ")).map(|(name, _)| name)
    }

    /// Whether a block in Python binds a variable.
    fn binds(&self, name: &str) -> bool {
        let mut targets = self.code.lines().filter_map(|line| line.split_once(" = ")).map(|(targets, _)| targets);
        targets.any(|targets| targets.split([',', ' ']).any(|target| target == name))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let page = std::fs::read_to_string(root().join("docs").join(NAME)).unwrap();
    let mut lines = page.lines().zip(1..);
    let mut found = Vec::new();
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
        let code = inside.map(|line| format!("{line}\n")).collect();
        found.push(Block { info: info.into(), first: number + 1, code });
    }
    found
}

/// The value of a variable as JSON, if it is words, numbers or a tensor.
fn value(session: &mut Session, name: &str) -> Option<Value> {
    let text = session.eval("value", &format!("to_json({name})")).ok()?.into_string().ok()?;
    serde_json::from_str(&text).ok().filter(|value: &Value| !value.is_object())
}

/// Runs our lines, and returns the blocks in Python, each with the values of ours that the lines below it bind under names that it
/// binds, too.
fn beside(session: &mut Session, blocks: &[Block]) -> Vec<Value> {
    let mut found = Vec::new();
    let mut above: Vec<&Block> = Vec::new();
    for block in blocks {
        if block.library().is_some() {
            above.push(block);
        }
        if !block.is_ours() {
            continue;
        }
        let complaints = support::run_stated(session, NAME, &block.placed());
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
        for python in above.drain(..) {
            let names = block.bound().filter(|name| python.binds(name));
            let values: BTreeMap<&str, Value> = names.filter_map(|name| Some((name, value(session, name)?))).collect();
            found.push(json!({
                "library": python.library(), "first": python.first, "code": python.code, "values": values,
            }));
        }
    }
    assert!(above.is_empty(), "a block in Python has none of ours below it");
    found
}

/// Runs the blocks of a library in a folder; the lines that say what was compared.
fn follow(python: &str, library: &Library, folder: &Path) -> Vec<String> {
    let output = Command::new(python)
        .arg(root().join("tests/from_python/follow.py"))
        .args(["blocks.json", library.word])
        .arg(root().join("tests/fixtures"))
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .env("WANDB_MODE", "disabled")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}\n{}", library.word, String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.starts_with("line ")).map(str::to_string).collect()
}

/// Compares the model with the dump that TransformerLens wrote in a folder; the largest difference, relative to the norm.
fn verified(folder: PathBuf) -> f64 {
    support::on_large_stack(move || {
        let line = "model::load(\"tiny\").verify(\"dump.safetensors\").worst";
        support::session(&folder).eval("verify", line).unwrap().as_float().unwrap()
    })
}

#[test]
fn lines_for_those_who_come_from_python_hold() {
    let mut code = String::new();
    let mut line = 1;
    for block in blocks().iter().filter(|block| block.is_ours()) {
        // Each line is where it is on the page, for complaints.
        code.push_str(&"\n".repeat(block.first - line));
        code.push_str(&block.code);
        line = block.first + block.code.lines().count();
    }
    assert!(code.matches("//=>").count() > 30, "hardly a value is stated");
    let complaints = support::on_large_stack(move || {
        let folder = tempfile::tempdir().unwrap();
        support::run_stated(&mut support::session(folder.path()), NAME, &code)
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_block_in_python_is_of_a_library_that_is_run() {
    for block in blocks() {
        let Some(word) = block.library() else { continue };
        assert!(LIBRARIES.iter().any(|library| library.word == word), "line {}: `{}`", block.first, block.info);
    }
}

#[test]
fn lines_in_python_bind_the_values_of_ours() {
    let has = "transformer-lens, nnsight and peft; sae-lens and dictionary-learning; circuit-tracer (.ci/from-python)";
    let variables = ["MICROTOME_LENSES", "MICROTOME_LOADERS", "MICROTOME_GRAPHS"];
    let pythons: BTreeMap<&str, String> =
        variables.iter().filter_map(|variable| Some((*variable, python::python(variable, has)?))).collect();
    if pythons.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_path_buf();
    let written = support::on_large_stack(move || {
        let mut session = support::session(&place);
        let written = beside(&mut session, &blocks());
        let _ = session.eval("model", &format!("m.save(\"{MODEL}\")")).unwrap();
        written
    });
    let out = folder.path().join("out");
    std::fs::write(out.join("blocks.json"), Value::from(written).to_string()).unwrap();
    for library in &LIBRARIES {
        let Some(python) = pythons.get(library.variable) else { continue };
        let compared = follow(python, library, &out);
        writeln!(std::io::stderr().lock(), "{}\n{}", library.word, compared.join("\n")).unwrap();
        assert!(compared.len() >= library.least, "{}: {} values", library.word, compared.len());
        if library.word == "transformer_lens" {
            let worst = verified(folder.path().to_path_buf());
            assert!(worst < 1e-5, "TransformerLens' dump of the page is {worst} of the norm apart");
        }
    }
}
