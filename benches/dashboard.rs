//! Dashboards of thousands of features, beside SAEDashboard. Writes `docs/benchmarks-dashboard.md`.
//!
//! `cargo bench --bench dashboard`; SAEDashboard is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it (`pip install sae-dashboard`). The measured part runs in a process of its own, so that the memory
//! is that of the dashboard.

#[allow(dead_code, reason = "what takes minutes is measured once, without medians")]
mod common;
#[path = "common/most_memory.rs"]
mod most_memory;
#[allow(dead_code, reason = "no tokens are counted")]
#[path = "common/peers.rs"]
mod peers;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Rows, publish};
use microtome::base::memory;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;
use most_memory::most_memory;
use peers::Peers;

const FEATURES: usize = 4096;
const TOKENS: usize = 1 << 20;
/// Rows of 256 tokens that the peer reads, an eighth of ours, and the features that it computes at a time.
const PEER_ROWS: usize = TOKENS / 256 / 8;
const PEER_FEATURES: usize = 64;
/// A large dictionary has cards for some of its features.
const MANY: usize = 1 << 18;

/// Names the part that this process plays, and its folder.
const PART: &str = "MICROTOME_BENCH_DASHBOARD";

fn main() {
    memory::keep_freed();
    let place = std::env::temp_dir().join("microtome-bench-dashboard");
    if let Ok(part) = std::env::var(PART) {
        let played = with_large_stack(move || play(&part, &place));
        return println!("{}", played.unwrap());
    }
    if place.exists() {
        std::fs::remove_dir_all(&place).unwrap();
    }
    std::fs::create_dir_all(&place).unwrap();
    let folder = place.clone();
    let made = with_large_stack(move || {
        let prepare = format!(
            r#"
            let m = model::load("tiny");
            let text = data::text("grammar", #{{ tokens: {TOKENS} }});
            let s = sae::fit(m, "resid_post.3", text, #{{ kind: "batch_topk", k: 32, d_sae: {FEATURES}, steps: 300, seed: 0 }});
            s.save("ours");
            s.save("sae", #{{ format: "saelens" }});
            m.save("neox");
            tensor::save("rows.safetensors", #{{ tokens: text.ids(m, #{{ context: 256, rows: {PEER_ROWS} }}) }});
            sae::fit(m, "resid_post.3", text, #{{ k: 32, d_sae: {MANY}, steps: 1, batch: 256, seed: 0 }}).save("many");
            "#
        );
        drop(Session::new(Env::in_memory(&folder).unwrap()).eval("bench", &prepare).unwrap());
    });
    made.unwrap();
    let ours = measured("whole");
    let large = measured("large");
    let arguments = [place.display().to_string(), FEATURES.to_string(), PEER_FEATURES.to_string(), "8".into()];
    let peers = Peers::run("dashboard.py", &arguments);
    let human = |bytes: u64| memory::human(bytes.into());
    let rows = Rows::from([
        (format!("{FEATURES} features over {TOKENS} tokens of `tiny`"), seconds(ours.0)),
        ("SAEDashboard".into(), peers.against("dashboard", ours.0, seconds)),
        ("memory of the program at most".into(), human(ours.1)),
        ("its pages".into(), human(size(&place.join("whole")))),
        (format!("{MANY} features, cards of 256, over {} tokens", TOKENS / 16), seconds(large.0)),
        ("memory of the program at most, with these".into(), human(large.1)),
    ]);
    publish("Benchmarks of dashboards", "dashboard", "benchmarks-dashboard.md", SENTENCES, &rows);
}

const SENTENCES: &str = "Each is one run in a process of its own, model and dictionary loaded before the clock starts; ratios are of times \
     of the same run. Batch top-k of 32 at `resid_post.3`, on the labelled language in rows of 256; the pages have 28 contexts a feature, \
     histograms, logits, neighbours and the index. SAEDashboard computes its data of 64 features at a time without writing pages, \
     with 20 strongest contexts and 5 intervals of 5, activations of the model kept on disk: two batches of features are timed on an \
     eighth of the tokens, the first with the model and the second without, and the whole is that of the first and 63 of the second, \
     times eight. The large dictionary was fitted for one step.";

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The time and the memory of a part, which a process of its own says.
fn measured(part: &str) -> (Duration, u64) {
    let output = Command::new(std::env::current_exe().unwrap()).env(PART, part).output().unwrap();
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (time, bytes) = said.trim().split_once(' ').unwrap();
    (Duration::from_secs_f64(time.parse().unwrap()), bytes.parse().unwrap())
}

fn play(part: &str, place: &Path) -> String {
    let mut session = Session::new(Env::in_memory(place).unwrap());
    let (prepare, call) = match part {
        "whole" => (
            format!(r#"let s = sae::load("ours"); let text = data::text("grammar", #{{ tokens: {TOKENS} }});"#),
            r#"features::dashboard(m, s, text, #{ dir: "whole" })"#,
        ),
        _ => (
            format!(r#"let s = sae::load("many"); let text = data::text("grammar", #{{ tokens: {} }});"#, TOKENS / 16),
            r#"features::dashboard(m, s, text, #{ dir: "large", features: 0..256 })"#,
        ),
    };
    drop(session.eval("bench", &format!(r#"let m = model::load("tiny"); {prepare}"#)).unwrap());
    let begin = Instant::now();
    drop(session.eval("bench", call).unwrap());
    format!("{} {}", begin.elapsed().as_secs_f64(), most_memory().unwrap_or_default())
}

/// The bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}
