//! Tasks of a new user, a script each in `examples/tasks`: every one runs and its checks hold, it is short, and the list has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::explorer::answers::{Question, answer};
use microtome::explorer::{Explorer, ExplorerInputs};
use microtome::tensor::Device;
use serde_json::json;

use crate::support;

const FOLDER: &str = "examples/tasks";

/// Arguments with which each script is quick without optimisation; its checks hold with them, too.
const SHORT: &[(&str, &str)] = &[
    ("answer_ranks", "--n 10"),
    ("attribution_graph", "--tokens 1200 --passes 2"),
    ("explored", "--others 2"),
    ("feature_attribution", "--tokens 6000 --n 6"),
    ("induction_scores", "--rows 4 --length 20"),
    ("integrated_gradients", ""),
    ("interrupted_sweep", "--tokens 1500 --steps 24"),
    ("own_dictionary", "--tokens 1500 --steps 120 --features 128"),
    ("own_library", "--n 8"),
    ("pandas_and_numpy", ""),
    ("patch_grid", "--n 4"),
    ("question_probe", "--tokens 2000 --draws 1 --kind difference_of_means"),
    ("quote_feature", "--tokens 3000 --held 3000 --others 1"),
    ("resampled_sentences", "--samples 6"),
    ("steering", "--prompts 4 --rows 2 --tokens 4"),
    ("two_layers", "--tokens 2000 --passes 2"),
    ("two_records", "--rows 4"),
];

/// Runs the program in a folder, with a folder for what it writes and without a cache.
fn microtome(folder: &Path, out: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    command.current_dir(folder).env("MICROTOME_CACHE", "").env("MICROTOME_PATH", "");
    command.arg("--out").arg(out).args(words).output().unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a task in its short form, in the root of the repository as a reader does, and gives back where it has written.
fn ran(name: &str) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let file = format!("{FOLDER}/{name}.rhai");
    let (_, short) =
        SHORT.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}: no row in SHORT"));
    let words: Vec<&str> = ["--quiet", "run", &file].into_iter().chain(short.split_whitespace()).collect();
    let output = microtome(&root(), out.path(), &words);
    let said = |text: &[u8]| String::from_utf8_lossy(text).to_string();
    assert!(output.status.success(), "{file} {short}:\n{}{}", said(&output.stderr), said(&output.stdout));
    assert!(said(&output.stdout).contains("check holds: "), "{file} checks nothing");
    let checked = microtome(&root(), out.path(), &["check", &file]);
    assert!(checked.status.success(), "{file}:\n{}", said(&checked.stderr));
    out
}

#[test]
fn every_task_runs_and_its_checks_hold() {
    let tasks = support::files(FOLDER, "rhai");
    assert_eq!(tasks.len(), SHORT.len(), "there is a script for each row of SHORT, and a row for each script");
    for task in tasks {
        ran(&task.file_stem().unwrap().to_string_lossy());
    }
}

#[test]
fn every_task_is_short_and_the_list_has_its_question() {
    let list = std::fs::read_to_string(root().join(FOLDER).join("README.md")).unwrap();
    for task in support::files(FOLDER, "rhai") {
        let name = task.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(&task).unwrap();
        let code = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
        assert!(code.count() <= 40, "{name} has more than 40 lines of code");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 160, "{name} has a line of {longest} characters");
        let question = text.lines().next().and_then(|line| line.strip_prefix("// ")).unwrap_or_default();
        assert!(question.ends_with('?'), "{name} begins with its question");
        assert!(text.contains(&format!("//     microtome run {FOLDER}/{name}.rhai")), "{name} says how it is run");
        let row = format!("| {question} | [{name}.rhai]({name}.rhai) |");
        assert!(list.contains(&row), "{FOLDER}/README.md lacks the row {row}");
    }
    assert_eq!(list.matches(".rhai) |").count(), SHORT.len(), "the list has a row that is no task");
}

/// The comparison of records that a header names.
#[test]
fn the_records_of_a_task_are_compared() {
    let out = ran("two_records");
    let record =
        |name: &str| out.path().join(format!("records/{name}/induction_scores/run.json")).display().to_string();
    let compare = |other: &str| microtome(&root(), out.path(), &["diff", &record("first"), &record(other)]);
    let same = compare("again");
    let other = compare("other");
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stdout).contains("seed: was 0, is 1"));
}

/// The library passes its tests, on a copy of it, and `microtome add` finds nothing new in what is kept beside the scripts.
#[test]
fn the_library_of_a_task_passes_its_tests() {
    let place = tempfile::tempdir().unwrap();
    let tasks = root().join(FOLDER);
    let out = place.path().join("out");
    std::fs::create_dir_all(place.path().join("own_library/tests")).unwrap();
    let kept = ["microtome.toml", "microtome.lock", "own_library/microtome.toml", "own_library/lib.rhai"];
    for name in kept.into_iter().chain(["own_library/tests/lib.rhai"]) {
        std::fs::copy(tasks.join(name), place.path().join(name)).unwrap();
    }
    let tested = microtome(place.path(), &out, &["test", "own_library"]);
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success() && said.contains("6 tests passed, 0 failed"), "{said}");
    let added = microtome(place.path(), &out, &["add"]);
    assert!(String::from_utf8_lossy(&added.stderr).contains("nothing is new"), "{added:?}");
}

/// The script that is kept as one that Save wrote is one: the explorer writes it to the letter.
#[test]
fn the_saved_script_of_a_task_is_what_the_explorer_saves() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_path_buf();
    support::on_large_stack(move || {
        let made = r#"
            let m = model::load("tiny");
            let text = data::text("sample", #{ tokens: 300 });
            sae::fit(m, "resid_post.4", text, #{ k: 4, d_sae: 192, steps: 1, seed: 0 }).save("explored/dictionary");
        "#;
        if let Err(e) = support::session(&place).eval("made", made) {
            panic!("{}", e.message);
        }
        let task = Task::default();
        let files = Files::unrecorded(&place.join("out")).unwrap();
        let plan = ExplorerInputs {
            model: "tiny".into(),
            dictionaries: vec!["explored/dictionary".into()],
            lenses: Vec::new(),
            text: "sample".into(),
            tokens: 300,
            descriptions: None,
        };
        let explorer = Explorer::load(plan, &files, &Device::Cpu, &task).unwrap();
        let changes = json!([{ "dictionary": 0, "feature": 168, "action": "ablate" }]);
        let text = "The sailor (who had waited for years";
        let step = json!({
            "ask": "continue", "text": text, "changes": changes, "tokens": 12, "temperature": 0, "seed": 0,
        });
        let saving = Question::parse("save", json!({ "steps": [step] })).unwrap();
        let saved = answer(&explorer, saving, &mut |_| {}, &task).unwrap();
        let kept = std::fs::read_to_string(root().join(FOLDER).join("explored/explore-1.rhai")).unwrap();
        assert_eq!(
            saved["script"], *kept,
            "save it anew: {FOLDER}/explored/explore-1.rhai is not what the explorer saves"
        );
    });
}
