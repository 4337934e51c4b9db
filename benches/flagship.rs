//! The parenthesis experiment: its circuit on the model inside the binary, from a cold start and with its dictionaries found
//! again, on a model of the shape of Pythia-70M with random weights, and on Gemma 3 270M; and what judges the circuit. Writes
//! `docs/benchmarks-flagship.md`.
//!
//! `cargo bench --bench flagship`, some twelve minutes. Gemma's runs come last, where `MICROTOME_GEMMA` names a folder with
//! its file `*q4_k_m.gguf`; without it this says that they are skipped, and their rows stay on the page as they were.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::child::{PeakMemory, most};
use common::{BenchPage, Rows, gemma, human, root};

/// Its vocabulary is Pythia's, which the output costs; the ids that it reads are the embedded model's.
const REAL: &str = r#"
    let sizes = #{
        model_type: "gpt_neox", vocab_size: 50304, hidden_size: 512, num_hidden_layers: 6, num_attention_heads: 8,
        intermediate_size: 2048, max_position_embeddings: 2048, rotary_pct: 0.25,
    };
    model::init(sizes, #{ tokenizer: model::load("tiny"), seed: 0 }).save("real");
"#;

/// What rows of Gemma begin with.
const GEMMA: &str = "Gemma 3 270M";

fn main() {
    let page = BenchPage::new("Benchmarks of the parenthesis experiment", "flagship", SENTENCES);
    let folder = common::folder("flagship");
    run(&folder, &["-e", REAL]);
    let real = folder.join("out/real").display().to_string();
    let of_real = |tokens| vec!["--model", &real, "--tokens", tokens];
    let [circuit, judged] = ["parenthesis_circuit", "parenthesis_judged"].map(script);
    let mut runs = vec![
        ("the model inside the binary, 400,000 tokens, from a cold start", &circuit, Vec::new()),
        ("the same, its dictionaries found again", &circuit, Vec::new()),
        ("its circuit judged further, its dictionaries found again", &judged, Vec::new()),
        ("6 layers of 512, 100,000 tokens, from a cold start", &circuit, of_real("100000")),
        ("its circuit judged further, its dictionaries found again", &judged, of_real("100000")),
        ("6 layers of 512, 400,000 tokens, from a cold start", &circuit, of_real("400000")),
    ];
    let gemma = gemma::folder().map(|folder| gemma::file(&folder));
    if let Some(file) = &gemma {
        let of_gemma = || vec!["--model", file];
        runs.push(("Gemma 3 270M, from a cold start", &circuit, of_gemma()));
        runs.push(("Gemma 3 270M, its dictionaries found again", &circuit, of_gemma()));
        runs.push(("Gemma 3 270M, its circuit judged further, its dictionaries found again", &judged, of_gemma()));
    }
    let kept = if gemma.is_none() { kept(&page.before()) } else { Rows::new() };
    let mut rows = Rows::new();
    for (what, script, more) in runs {
        let begin = Instant::now();
        let before = processor_seconds();
        let most = run(&folder, &[&["run", script], more.as_slice()].concat());
        let wall = begin.elapsed().as_secs_f64();
        let processor = processor_seconds() - before;
        let memory = human(most.own);
        rows.push((what.into(), format!("{wall:.0} s, {processor:.0} s of processor time, {memory} of memory")));
    }
    std::fs::remove_dir_all(&folder).unwrap();
    rows.extend(kept);
    page.publish(&rows);
}

const SENTENCES: &str = "One run each of `scripts/parenthesis_circuit.rhai` (dictionaries, tree, descriptions, judgement) and, \
     where the circuit is judged further, of `scripts/parenthesis_judged.rhai`, which does the same again with the dictionaries \
     of the run before and then all other judgements; memory is the peak without the pages of files. The model of 6 layers has \
     random weights, so that its checks fail, as they must. Gemma 3 270M is computed in f32 from its Q4_K_M file, with the \
     defaults that follow from the model.";

/// The rows of Gemma of the page as it was, with the day on which they were measured.
fn kept(page: &str) -> Rows {
    let day = page.split_once(" threads), ").and_then(|(_, rest)| rest.get(..10)).unwrap_or_default();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let told = |found: &str| {
        if found.contains("measured on") { found.to_string() } else { format!("{found}, measured on {day}") }
    };
    rows.filter(|(what, _)| what.starts_with(GEMMA)).map(|(what, found)| (what.into(), told(found))).collect()
}

/// Returns the path of an experiment.
fn script(name: &str) -> String {
    root().join("scripts").join(name).with_extension("rhai").display().to_string()
}

/// How a run ends whose checks fail.
const CHECK_FAILED: i32 = 3;

/// Runs the binary in a folder, with a cache of its own; returns its peak memory. A check that fails is no reason to stop.
fn run(folder: &Path, words: &[&str]) -> PeakMemory {
    let mut child = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(words)
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .env("MICROTOME_CACHE", folder.join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let most = most(&mut child);
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | CHECK_FAILED)), "{status} of {words:?}");
    most
}

/// Seconds of processor time of the processes that have ended.
fn processor_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a usage of this frame, which the call fills; zeros are a valid one, too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
