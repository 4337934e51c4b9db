//! Every step of the tour and every experiment runs, its checks hold, and the tour stays short.

use crate::support::{self, microtome, printed};
use std::path::Path;
use std::process::Command;

/// Runs a script in the root of the repository, as a reader of the README does; it writes elsewhere.
fn run(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    printed(microtome(root).arg("--out").arg(folder.path()).arg("run").arg(file));
    printed(microtome(root).arg("check").arg(file));
}

#[test]
fn nothing_in_our_own_scripts_is_seen_to_be_wrong() {
    support::on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let session = support::session(folder.path());
        let folders = ["scripts", "scripts/tiny", "examples", "examples/tasks", "examples/tasks/explored", "stdlib"];
        for file in folders.iter().flat_map(|folder| support::files(folder, "rhai")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let found = session.check(&file.display().to_string(), &text);
            let said: Vec<String> = found
                .iter()
                .map(|failure| microtome::script::engine::drawing::draw(failure, session.sources(), false))
                .collect();
            assert!(said.is_empty(), "{}", said.join("\n"));
        }
    });
}

#[test]
fn every_step_of_the_tour_runs_and_is_short() {
    let steps = support::files("examples", "rhai");
    assert_eq!(steps.len(), 10, "the tour has ten steps");
    for step in steps {
        let lines = std::fs::read_to_string(&step).unwrap().lines().count();
        assert!(lines <= 30, "{} has {lines} lines", step.display());
        run(&step);
    }
}

/// Experiments that take long without optimisation, cut short: only their checks may fail. Those that take a model run on
/// [`small_model`], where they have none of their own and are not [`ON_TINY`].
const SHORT: &[(&str, &str)] = &[
    ("all", "--folder tests/fixtures/experiments"),
    ("apostrophe_feature", "--text grammar --tokens 2048 --judged 1024 --k 8 --ratio 1 --others 1"),
    ("attribution_graph", "--text grammar --tokens 600 --ratio 1 --k 4 --passes 1"),
    ("dashboard", "--tokens 6000 --d_sae 32 --described 2"),
    ("feature_circuits", "--text grammar --tokens 4000 --ratio 1 --k 4 --passes 1 --n 2 --halvings 3 --shown 4"),
    ("figure5", "--pairs 2 --tokens 1000 --passes 1 --thresholds 2 --lowest 0.1"),
    ("gender_erasure", "--tokens 4096"),
    ("induction", "--steps 2"),
    ("induction_heads", "--rows 2 --draws 2"),
    ("interference", "--text grammar --tokens 2000 --passes 1 --features 288 --trials 2"),
    (
        "interpretability",
        "--text grammar --layers 1 --tokens 16000 --fragments 60 --features 3 --ratio 1 --k 4 --rows 2",
    ),
    ("ioi_heads", "--n 4"),
    ("circuit_localization", "--tasks sort --n 2"),
    ("compiled_circuits", "--n 4"),
    ("known_circuits", "--tasks parenthesis --n 2"),
    ("model_diffing", "--read 12000 --tokens 2000 --steps 2 --ratio 1 --target 4 --passes 1"),
    ("what_a_finetune_changed", "--tokens 20000 --documents 80 --steps 2 --rows 4 --prompts 2"),
    ("splitting", "--text grammar --tokens 6000 --passes 1 --k 4"),
    ("training_recipes", "--text grammar --tokens 6000 --steps 2"),
    ("tree_stability", "--text grammar --tokens 6000 --ratio 1 --passes 1 --k 8 --nodes 8"),
    ("geometry", "--text grammar --tokens 6000 --passes 1 --k 4 --ratio 1 --epochs 10"),
    ("suppression_absorption", "--text grammar --tokens 5000 --passes 1 --k 4 --ratios 1 --kinds topk,relu"),
    ("parenthesis_circuit", "--text grammar --tokens 6000 --ratio 1 --passes 1 --k 8"),
    ("parenthesis_judged", "--text grammar --tokens 6000 --ratio 1 --passes 1 --k 8"),
    (
        "smallest_circuit",
        "--text grammar --tokens 6000 --ratio 1 --passes 1 --read 600 --judged 600 --methods elimination --rate 0.5",
    ),
    ("synth_bench", "--d 16 --features 64 --width 16 --roots 4 --rows 2048 --passes 1 --held 64"),
    ("universality", "--text grammar --tokens 8000 --bytes 20000 --steps 2 --vocab 300 --features 64 --k 4 --passes 1"),
    ("steering_table", "--prompts 2 --n 30 --rows 1"),
    (
        "towards_monosemanticity",
        "--text grammar --tokens 6000 --steps 2 --vocab 300 --bytes 20000 --features 64 --passes 1 --k 4 --rows 2",
    ),
    ("lorsa", "--steps 2 --texts 8 --length 6"),
    ("lorsa_graph", "--text grammar --tokens 600 --ratio 1 --k 4 --passes 1 --steps 2"),
    ("heads", "--length 6 --texts 3 --tokens 4"),
    ("qk_attributions", "--length 6 --queries 3"),
    ("parameter_decomposition", "--training 20 --steps 3 --batch 16"),
    ("parameter_decomposition_identity", "--training 20 --steps 3 --batch 16 --parts 44"),
    ("parameter_decomposition_mlp", "--parts 8 --steps 2 --training 4 --judged 2 --rows 4"),
    ("parameter_decomposition_residual", "--features 12 --training 3 --steps 3 --batch 16 --parts 14 --layers 2"),
    ("modular_addition", "--parts 2 --each 2 --p 13"),
    (
        "monosemantic_neurons",
        "--steps 2 --text grammar --bytes 20000 --neurons 32 --features 64 --judged 8 --fragments 200 --rows 4",
    ),
    ("larger_dictionaries", "--text grammar --tokens 5000 --ratios 1,2 --passes 1 --k 4 --rows 2"),
    ("mlp_dictionaries", "--text grammar --tokens 3000 --l1 1e-3,1e-2 --passes 1 --features 48 --rows 1"),
    ("ablation_interactions", "--text grammar --tokens 4000 --ratio 1 --k 4 --passes 1 --rows 2 --largest 4 --pairs 2"),
    ("parts_of_the_layer", "--tokens 4000 --features 48 --k 4 --passes 1 --rows 1"),
    ("lenses", "--text grammar --tokens 4000 --steps 1 --prompts 1 --context 32 --judged 2 --rows 1"),
    ("steering_sweep", "--prompts 2 --tokens 1000"),
    ("dictionary_recovery", "--d 12 --features 24 --rows 2000 --steps 10 --smallest 0 --largest 1 --every 8"),
    ("factual_recall", "--n 4"),
    ("patchscopes", "--n 60"),
    ("four_methods", "--n 1 --threshold 0.1"),
    ("relp", "--n 2"),
    ("persistence", "--text grammar --tokens 6000 --layers 2 --ratio 1 --passes 1 --k 4"),
    ("addition_circles", "--p 11 --steps 4"),
    ("line_lengths", "--texts 16 --features 64 --steps 2"),
    ("line_ends", "--texts 8"),
    ("sparse_model", "--steps 2 --dense 1 --pairs 2"),
    ("sparse_tasks", "--steps 2 --pairs 2"),
    ("sparse_bridges", "--dense 2 --steps 1 --rows 32 --pairs 2"),
    ("depth_scores", "--text grammar --tokens 12000 --layers 2 --features 2 --fragments 40 --k 4"),
    ("thought_anchors", "--n 2 --rollouts 4"),
    ("safety_monitor", "--tokens 3000 --held 16_000 --stopped 2 --rate 0.5"),
    ("temporal_features", "--texts 30 --tokens 3000 --steps 2"),
    ("transcoder_adapters", "--tokens 3000 --documents 12 --rows 4 --tuning 2 --steps 2 --features 16"),
    ("traits", "--tokens 30000 --prompts 40 --held 2 --steps 1 --rate 0.5"),
    (
        "dictionary_pareto",
        "--model tests/fixtures/stories260K/stories260K.bin --tokenizer tests/fixtures/stories260K/tok512.bin \
         --text grammar --site resid_post.1 --tokens 2000 --held 600 --linear 256 --rows 1 --passes 1 --ks 2 --ratio 2",
    ),
    (
        "pythia_dictionaries",
        "--model tests/fixtures/stories260K/stories260K.bin --tokenizer tests/fixtures/stories260K/tok512.bin \
         --text grammar --site resid_post.1 --tokens 1200 --held 600 --layers 0 --features 96 --k 4 --context 64",
    ),
];
/// Experiments that are run without a model: the runner of all, the one of the README, those whose chart needs features
/// that random weights do not have, and the two that read the lines which the model writes.
const ON_TINY: [&str; 6] = ["all", "line_ends", "line_lengths", "parenthesis_circuit", "smallest_circuit", "traits"];
/// Scripts that need texts which are not in the repository; they run on a small text of ours.
const ON_TEXT: [(&str, &str); 3] = [
    ("train_tiny", "--steps 1 --rows 2 --bytes 200000"),
    ("tiny_sample", "--tokens 512"),
    ("tiny_card", "--pairs 2 --tokens 300 --counted 20000 --rows 2"),
];

#[test]
fn every_experiment_runs_and_its_checks_hold() {
    let scripts = support::files("scripts", "rhai");
    assert!(!scripts.is_empty());
    let small = small_model();
    let small = small.path().join("out/small").display().to_string();
    for script in scripts {
        let name = script.file_stem().unwrap().to_string_lossy().to_string();
        let of = |list: &[(&str, &'static str)]| -> Option<Vec<&'static str>> {
            list.iter().find(|(known, _)| *known == name).map(|(_, words)| words.split_whitespace().collect())
        };
        let takes_model = std::fs::read_to_string(&script).unwrap().contains(r#"arg("model""#);
        let on_small = |words: Vec<&'static str>| -> Vec<&str> {
            let has_own = words.contains(&"--model") || ON_TINY.contains(&name.as_str());
            let added: &[&str] = if takes_model && !has_own { &["--model", &small] } else { &[] };
            [&words, added].concat()
        };
        match (of(SHORT).map(on_small), of(&ON_TEXT).map(on_small)) {
            (Some(words), _) => {
                let ended = code(&script, &words, Path::new(env!("CARGO_MANIFEST_DIR")));
                assert!(matches!(ended, 0 | 3), "{name}: {ended}");
            }
            (_, Some(words)) => on_text(&script, &words),
            _ => run(&script),
        }
    }
}

/// Saves a model of two layers with random weights and a tokenizer of the language of `grammar`, below `out/small`. An experiment
/// runs on it in a tenth of the time; what it finds is compared where all run in full (`.ci/experiments`).
fn small_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = r#"
        let text = data::text("grammar").documents(400).reduce(|all, document| `${all}\n${document.text}`, "");
        let tokenizer = data::tokenizer(text, #{ vocab: 3000 });
        let config = #{ layers: 2, d_model: 64, heads: 2, vocab: tokenizer.size, context: 128 };
        model::init(config, #{ tokenizer: tokenizer, seed: 0 }).save("small");
    "#;
    let place = folder.path().to_path_buf();
    support::on_large_stack(move || support::session(&place).eval("small", made).map(|_| ()).unwrap());
    folder
}

/// Runs a script in a folder with texts in place of the training's own.
fn on_text(script: &Path, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let texts = r##"
        let beginnings = #{ "peps/peps-train.txt": "PEP: ", "rfcs/rfcs-train.txt": "- Feature Name: ", "wiki/wiki-sentences.txt": "" };
        let number = 0;
        for name in beginnings.keys() {
            let text = "";
            for d in data::text("grammar", #{ seed: number }).documents(300) { text += beginnings[name] + d.text + "\n\n"; }
            run::save_text(`corpora/${name}`, text);
            number += 1;
        }
        // One novel in twelve is held out, and both parts must have some.
        let novels = data::text("grammar", #{ seed: 9 }).documents(300);
        for i in 0..novels.len() { run::save_text(`corpora/books/${i}.md`, novels[i].text); }
    "##;
    std::fs::write(folder.path().join("texts.rhai"), texts).unwrap();
    assert_eq!(code(&folder.path().join("texts.rhai"), &[], folder.path()), 0);
    let words = [&["--corpora", "out/corpora"], words].concat();
    assert_eq!(code(script, &words, folder.path()), 0);
}

/// The exit code of a script that is run in a folder, and writes below it.
fn code(script: &Path, words: &[&str], folder: &Path) -> i32 {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
    let out = if folder.join("texts.rhai").exists() { folder.join("out") } else { out.path().to_path_buf() };
    command.current_dir(folder).env("MICROTOME_CACHE", "");
    command.arg("--out").arg(out).arg("run").arg(script).args(words);
    let output = command.output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    if ![0, 3].contains(&code) {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    code
}

#[test]
fn a_session_embeds() {
    // Cargo builds examples beside the binary before it runs the tests.
    let built = std::path::Path::new(env!("CARGO_BIN_EXE_microtome")).with_file_name("examples").join("session");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(built).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("the sum is 10\n"), "{said}");
    assert!(said.contains("did you mean `tensor::arange`?"), "{said}");
}
