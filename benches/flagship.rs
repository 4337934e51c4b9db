//! The parenthesis experiment as a whole: on the model inside the binary, from a cold start and with its dictionaries found
//! again, and on a model of the shape of Pythia-70M with random weights. Writes `docs/benchmarks-flagship.md`.
//!
//! `cargo bench --bench flagship`, some twelve minutes.

#[allow(dead_code, reason = "each run is measured once")]
mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Rows, publish};

/// Its vocabulary is Pythia's, which the output costs; the ids that it reads are the embedded model's.
const REAL: &str = r#"
    let sizes = #{
        model_type: "gpt_neox", vocab_size: 50304, hidden_size: 512, num_hidden_layers: 6, num_attention_heads: 8,
        intermediate_size: 2048, max_position_embeddings: 2048, rotary_pct: 0.25,
    };
    model::init(sizes, #{ tokenizer: model::load("tiny"), seed: 0 }).save("real");
"#;

fn main() {
    let folder = std::env::temp_dir().join(format!("microtome-flagship-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    run(&folder, &["-e", REAL]);
    let mut rows: Rows = Vec::new();
    let real = folder.join("out/real").display().to_string();
    let of_real = |tokens| vec!["--model", &real, "--tokens", tokens];
    let runs = [
        ("the model inside the binary, 400,000 tokens, from a cold start", Vec::new()),
        ("the same, its dictionaries found again", Vec::new()),
        ("6 layers of 512, 100,000 tokens, from a cold start", of_real("100000")),
        ("6 layers of 512, 400,000 tokens, from a cold start", of_real("400000")),
    ];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/parenthesis_circuit.rhai").display().to_string();
    for (what, more) in runs {
        let (begin, before) = (Instant::now(), processor_seconds());
        run(&folder, &[&["run", &script], more.as_slice()].concat());
        let (wall, processor) = (begin.elapsed().as_secs_f64(), processor_seconds() - before);
        rows.push((what.into(), format!("{wall:.0} s, {processor:.0} s of processor time")));
    }
    std::fs::remove_dir_all(&folder).unwrap();
    publish(
        "Benchmarks of the parenthesis experiment",
        "flagship",
        "benchmarks-flagship.md",
        "One run each of `scripts/parenthesis_circuit.rhai`, dictionaries, tree, descriptions and judgements, with nothing \
         else said. The larger model has random weights, so that its checks fail, as they must.",
        &rows,
    );
}

/// How a run ends whose checks fail.
const CHECK_FAILED: i32 = 3;

/// Runs the binary in a folder, with a cache of its own. A check that fails is no reason to stop.
fn run(folder: &Path, words: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_microtome"))
        .args(words)
        .current_dir(folder)
        .env("HF_HUB_OFFLINE", "1")
        .env("MICROTOME_CACHE", folder.join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(matches!(status.code(), Some(0 | CHECK_FAILED)), "{status} of {words:?}");
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
