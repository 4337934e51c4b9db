//! Dashboards of thousands of features, beside SAEDashboard. Writes `docs/benchmarks-dashboard.md`.
//!
//! `cargo bench --bench dashboard`; SAEDashboard is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it (`pip install sae-dashboard`). The measured part runs in a process of its own, so that the memory
//! is that of the dashboard.

mod common;

use std::path::Path;
use std::time::Instant;

use common::peers::Peers;
use common::{BenchPage, Rows, child, eval, human, in_session, most_memory, seconds};
use microtome::base::memory;
use microtome::script::Session;

const FEATURES: usize = 4096;
const TOKENS: usize = 1 << 20;
/// Rows of 256 tokens that the peer reads, an eighth of ours, and the features that it computes at a time.
const PEER_ROWS: usize = TOKENS / 256 / 8;
const PEER_FEATURES: usize = 64;
/// A large dictionary has cards for some of its features.
const MANY: usize = 1 << 18;

fn main() {
    if let Some((part, folder)) = child::part() {
        let played = in_session(&folder, move |session| play(session, &part));
        return println!("{played}");
    }
    BenchPage::new("Benchmarks of dashboards", "dashboard", SENTENCES).run(|folder| {
        in_session(folder, |session| eval(session, &prepare()));
        let ours = child::time_and_memory("whole", folder);
        let large = child::time_and_memory("large", folder);
        let arguments = [folder.display().to_string(), FEATURES.to_string(), PEER_FEATURES.to_string(), "8".into()];
        let peers = Peers::run("dashboard.py", &arguments);
        Rows::from([
            (format!("{FEATURES} features over {TOKENS} tokens of `tiny`"), seconds(ours.0)),
            ("SAEDashboard".into(), peers.against("dashboard", ours.0, seconds)),
            ("memory of the program at most".into(), human(ours.1)),
            ("its pages".into(), human(size(&folder.join("whole")))),
            (format!("{MANY} features, cards of 256, over {} tokens", TOKENS / 16), seconds(large.0)),
            ("memory of the program at most, with these".into(), human(large.1)),
        ])
    });
}

fn prepare() -> String {
    format!(
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
    )
}

const SENTENCES: &str = "Each is one run in a process of its own, model and dictionary loaded before the clock starts; ratios are of times \
     of the same run. Batch top-k of 32 at `resid_post.3`, on the labelled language in rows of 256; the pages have 28 contexts a feature, \
     histograms, logits, neighbours and the index. SAEDashboard computes its data of 64 features at a time without writing pages, \
     with 20 strongest contexts and 5 intervals of 5, activations of the model kept on disk: two batches of features are timed on an \
     eighth of the tokens, the first with the model and the second without, and the whole is that of the first and 63 of the second, \
     times eight. The large dictionary was fitted for one step.";

/// The seconds and the peak memory of a part.
fn play(session: &mut Session, part: &str) -> String {
    memory::keep_freed();
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
    eval(session, &format!(r#"let m = model::load("tiny"); {prepare}"#));
    let begin = Instant::now();
    eval(session, call);
    format!("{} {}", begin.elapsed().as_secs_f64(), most_memory().unwrap_or_default())
}

/// The bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}
