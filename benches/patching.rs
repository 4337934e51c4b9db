//! Patching of a long prompt, beside TransformerLens. Writes `docs/benchmarks-patching.md`.
//!
//! `cargo bench --bench patching`; TransformerLens is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it.

mod common;

use std::path::Path;
use std::time::Duration;

use common::peers::Peers;
use common::shapes::PYTHIA;
use common::{BenchPage, Rows, eval, in_session, milliseconds, timed};
use microtome::script::Session;

const RUNS: usize = 5;
/// Runs of the peer's grids; each takes as long as hundreds of forward passes.
const PEER_RUNS: usize = 1;

/// The grids, by the peer's names for them.
const GRIDS: [(&str, &str, &str); 4] = [
    ("positions", "layer by position, `get_act_patch_resid_pre`, 300 patches", ""),
    (
        "heads_by_position",
        "layer by head by position, `get_act_patch_attn_head_out_by_pos`, 2,400 patches",
        "sites: \"z.*.*\", by: \"position\"",
    ),
    ("heads", "layer by head, `get_act_patch_attn_head_out_all_pos`, 48 patches", "by: \"head\""),
    ("attribution", "the whole grid by attribution", "method: \"attribution\""),
];

fn main() {
    BenchPage::new("Benchmarks of patching", "patching", SENTENCES).run(|folder| {
        // The prompts differ in their second token, so that nothing but the first position can be skipped.
        let clean: Vec<u32> = (0..50).map(|i| (i * 977 + 13) % 50000).collect();
        let mut corrupt = clean.clone();
        corrupt[1] = 4242;
        let pair = serde_json::json!({ "clean": clean, "corrupt": corrupt, "answer": 100, "wrong": 200 });
        std::fs::write(folder.join("pair.json"), pair.to_string()).unwrap();
        // The model is saved for the peer.
        let prepare = format!(
            "let m = model::init({PYTHIA}, #{{ seed: 0 }}); m.save(\"neox\"); let clean = {clean:?}; let corrupt = {corrupt:?};
             let pairs = data::pairs([clean], [corrupt], #{{ answers: [100], wrong: [200] }});"
        );
        let place = folder.to_path_buf();
        in_session(folder, move |session| {
            eval(session, &prepare);
            let peers = Peers::run("patching.py", &[PEER_RUNS.to_string(), place.display().to_string()]);
            measured(session, &place, &peers)
        })
    });
}

const SENTENCES: &str = "Times are medians; ratios are of medians of the same run. The model has the shape of Pythia-70M and random \
     weights, in f32, the same in both; one pair of prompts of 50 tokens that differ in their second one, clean activations into \
     the corrupt run, the metric a logit difference. TransformerLens runs the whole model for each patch, its progress bars \
     off, each grid once, and every tenth of the patches by head and position, that time multiplied by ten; its grid is given \
     the clean cache, ours makes it as well. Differences are relative to the largest effect of a grid.";

fn measured(session: &mut Session, folder: &Path, peers: &Peers) -> Rows {
    let mut rows = Rows::new();
    let time = |session: &mut Session, code: &str| timed(|| eval(session, code), RUNS);
    let forward = time(session, "m.logits(corrupt)");
    rows.push(("a forward pass with all logits".into(), milliseconds(forward)));
    rows.push(("TransformerLens".into(), peers.against("forward", forward, milliseconds)));
    let last = time(session, "m.logits(corrupt, #{ pos: -1 })");
    rows.push(("a forward pass with the last logits".into(), milliseconds(last)));
    for (name, what, options) in GRIDS {
        let ours = time(session, &format!("let found = intervene::grid(m, pairs, #{{ {options} }})"));
        rows.push((what.into(), milliseconds(ours)));
        if name == "attribution" {
            let passes = |one: Duration| ours.as_secs_f64() / one.as_secs_f64();
            let found = format!("{:.2} ({:.2} with the last logits alone)", passes(forward), passes(last));
            rows.push(("in forward passes with all logits".into(), found));
            continue;
        }
        rows.push(("TransformerLens".into(), peers.against(name, ours, milliseconds)));
        if folder.join("peer.safetensors").exists() {
            let code = format!(
                "let theirs = tensor::load(\"peer.safetensors\"); let effects = theirs.{name};
                 (found.tensor.flatten()[theirs.{name}_places] - effects).abs().max().item() / effects.abs().max().item()"
            );
            let far = session.eval("bench", &code).unwrap().as_float().unwrap();
            assert!(far < 1e-3, "{name}: the peer's grid is another one, by {far}");
            rows.push(("largest difference".into(), format!("{far:.1e}")));
        }
    }
    rows
}
