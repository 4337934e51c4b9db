//! Patching of a long prompt, beside TransformerLens, and suppressed sentences and a patchscope, beside their authors' code.
//! Writes `docs/benchmarks-patching.md`.
//!
//! `cargo bench --bench patching`; TransformerLens is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it, and the authors' code where the variables that its scripts in `peers` name are set.

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
            let mut rows = measured(session, &place, &peers);
            beside_authors(session, &place, &mut rows);
            rows
        })
    });
}

const SENTENCES: &str = "Times are medians; ratios are of medians of the same run. The model has the shape of Pythia-70M and random \
     weights, in f32, the same in both; one pair of prompts of 50 tokens that differ in their second one, clean activations into \
     the corrupt run, the metric a logit difference. TransformerLens runs the whole model for each patch, its progress bars \
     off, each grid once, and every tenth of the patches by head and position, that time multiplied by ten; its grid is given \
     the clean cache, ours makes it as well. Differences are relative to the largest effect of a grid. Sentences (Bogdan et al. \
     2025) are 12, of 122 tokens in all, in a model of the shape of Qwen2 (6 layers of 192, 6 heads) with random weights: the \
     authors' code runs it once for each, and compares the 100 likeliest tokens; ours compares all, and reads what heads attend to \
     as well. The patchscope (Ghandeharioun et al. 2024) is of one token of `tiny`, from each of 6 layers in the same one.";

/// Tokens that the model says of a vector.
const SAID: usize = 10;
/// What the sentences are about.
const SUBJECTS: [&str; 12] =
    ["man", "house", "garden", "letter", "road", "lamp", "winter", "captain", "window", "child", "table", "horse"];

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

/// The effects of suppressed sentences, and a patchscope, beside their authors' code.
fn beside_authors(session: &mut Session, folder: &Path, rows: &mut Rows) {
    let sentence = |subject: &str| format!("The old {subject} was there before the others came.");
    let sentences = SUBJECTS.map(sentence).to_vec();
    std::fs::write(folder.join("sentences.json"), serde_json::json!(sentences).to_string()).unwrap();
    let prepare = format!(
        "let tiny = model::load(\"tiny\"); let text = {:?};
         let qwen = model::init(#{{
             model_type: \"qwen2\", vocab_size: 4096, hidden_size: 192, intermediate_size: 768, num_hidden_layers: 6,
             num_attention_heads: 6, num_key_value_heads: 6, max_position_embeddings: 256, tie_word_embeddings: true,
         }}, #{{ tokenizer: tiny, seed: 1 }});
         qwen.save(\"qwen2\");",
        sentences.join(" ")
    );
    eval(session, &prepare);
    let time = |session: &mut Session, code: &str| timed(|| eval(session, code), RUNS);
    let sentences = time(session, "intervene::sentences(qwen, text, #{ apart: 1 })");
    let peers = Peers::run("sentences.py", &[RUNS.to_string(), folder.display().to_string()]);
    rows.push(("effects of 12 suppressed sentences on each other".into(), milliseconds(sentences)));
    rows.push(("the authors' code, the same".into(), peers.against("sentences", sentences, milliseconds)));
    let scope =
        format!("tiny.patchscope(\"The old house by the sea\", \"Everybody knows the\", #{{ tokens: {SAID} }})");
    let scope = time(session, &scope);
    let peers = Peers::measure("patchscopes.py", &[RUNS, SAID]);
    rows.push((format!("a patchscope of 6 layers, {SAID} tokens said of each"), milliseconds(scope)));
    rows.push(("the authors' code, the same".into(), peers.against("patchscopes", scope, milliseconds)));
}
