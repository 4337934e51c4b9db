//! A step of a toy model of superposition from a script, a step of DAS through the model inside the binary, and gradients at
//! all of its layers, by derivatives and by relevance, beside the same in torch. Writes `docs/benchmarks-gradients.md`.
//!
//! `cargo bench --bench gradients`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it and transformers.

mod common;

use std::path::Path;
use std::time::Duration;

use common::peers::Peers;
use common::{BenchPage, Rows, eval, in_session, microseconds, timed};

const RUNS: usize = 9;
/// Steps in a run, whose time is divided by them.
const STEPS: usize = 200;
const ROWS: usize = 1024;
const FEATURES: usize = 20;
const DIMS: usize = 5;
/// Of DAS: steps in a run, pairs, those of a step, and tokens of a text.
const DAS_STEPS: usize = 50;
const PAIRS: usize = 128;
const BATCH: usize = 32;
const LENGTH: usize = 20;
/// Passes of gradients in a run, whose time is divided by them.
const PASSES: usize = 10;

fn main() {
    let sentences = format!(
        "Times are medians of {RUNS} runs of {STEPS} steps each, divided by them; ratios are of medians of the same run. The \
         model gives back relu(x W W^T + b) for {ROWS} rows of {FEATURES} features in {DIMS} dimensions; a step is the \
         mean squared error, its gradient, and AdamW. Ours is a script, `opt.step(|p| ..)`; torch runs eagerly. DAS searches \
         2 of 192 dimensions of `resid_post.2` of `tiny`, {BATCH} of {PAIRS} pairs of {LENGTH} tokens in a step, {DAS_STEPS} \
         steps; ours is all of `subspace::das`, the activations of all sources and the judgement of the result included, \
         divided by the steps; the peer has its sources' activations beforehand, and only its steps are timed. A pass of \
         gradients is that of one logit after the last token of {BATCH} texts of {LENGTH} tokens at the inputs of all layers of \
         `tiny`, {PASSES} passes in a run; RelP's rules are in torch as its authors have them, by detaching what is constant."
    );
    BenchPage::new("Benchmarks of gradients in scripts", "gradients", sentences).run(|folder| {
        let numbers = [RUNS, STEPS, ROWS, FEATURES, DIMS, DAS_STEPS, PAIRS, BATCH, LENGTH, PASSES];
        let peers = Peers::measure("gradients.py", &numbers);
        let mut rows = Rows::new();
        for (name, what, begin, step) in [
            ("fixed", "a step on the same rows", "", "x"),
            ("drawn", "a step on rows drawn for it", "import \"std/toy\" as toy; let drawn = 0;", DRAWN),
        ] {
            let step = measured(folder, begin, step);
            rows.push((what.into(), microseconds(step)));
            rows.push(("torch, the same".into(), peers.against(name, step, microseconds)));
        }
        let step = das(folder);
        rows.push(("a step of DAS".into(), microseconds(step)));
        rows.push(("torch and transformers, the same".into(), peers.against("das", step, microseconds)));
        let derivatives = gradients(folder, "derivatives");
        rows.push(("gradients at all layers, derivatives".into(), microseconds(derivatives)));
        rows.push(("torch and transformers, the same".into(), peers.against("derivatives", derivatives, microseconds)));
        let relevance = gradients(folder, "relp");
        rows.push(("gradients at all layers, relevance (RelP)".into(), microseconds(relevance)));
        rows.push(("torch and transformers, the same".into(), peers.against("relp", relevance, microseconds)));
        let times = relevance.as_secs_f64() / derivatives.as_secs_f64();
        rows.push(("relevance, in times of derivatives".into(), format!("{times:.2}")));
        rows
    });
}

const DRAWN: &str = "{ drawn += 1; toy::inputs(1024, 20, 0.9, drawn) }";

/// The time of a step on the rows that `x` gives.
fn measured(folder: &Path, begin: &str, x: &str) -> Duration {
    let prepare = format!(
        "{begin} let x = tensor::uniform([{ROWS}, {FEATURES}], #{{ seed: 1 }});
         let params = #{{ w: tensor::randn([{FEATURES}, {DIMS}], #{{ seed: 2 }}) * 0.3, b: tensor::zeros({FEATURES}) }};
         let opt = optim::adamw(params, #{{ lr: 0.001 }});"
    );
    let steps = format!(
        "for i in 0..{STEPS} {{
            opt.step(|p| {{ let x = {x}; (((x @ p.w @ p.w.transpose() + p.b).relu() - x) ** 2).mean() }});
        }}"
    );
    let whole = in_session(folder, move |session| {
        eval(session, &prepare);
        timed(|| eval(session, &steps), RUNS)
    });
    whole / STEPS as u32
}

/// The time of a search, divided by its steps.
fn das(folder: &Path) -> Duration {
    let prepare = format!(
        "let m = model::load(\"tiny\");
         let pairs = (0..{PAIRS}).map(|i| #{{
             base: (0..{LENGTH}).map(|j| (i * 31 + j * 97) % 4000),
             source: (0..{LENGTH}).map(|j| (i * 53 + j * 89 + 7) % 4000),
             answer: i % 4000,
         }});"
    );
    let search =
        format!("subspace::das(m, pairs, #{{ site: \"resid_post.2\", k: 2, batch: {BATCH}, steps: {DAS_STEPS} }})");
    let whole = in_session(folder, move |session| {
        eval(session, &prepare);
        timed(|| eval(session, &search), RUNS)
    });
    whole / DAS_STEPS as u32
}

/// The time of a pass with gradients at all layers by these rules.
fn gradients(folder: &Path, rules: &str) -> Duration {
    let prepare = format!(
        "let m = model::load(\"tiny\");
         let texts = (0..{BATCH}).map(|i| (0..{LENGTH}).map(|j| (i * 31 + j * 97) % 4000));"
    );
    let passes = format!(
        "for pass in 0..{PASSES} {{
            m.grads(texts, |logits| logits[[\":\", 0]].sum(), \"resid_pre.*\", #{{ pos: -1, gradients: {rules:?} }});
        }}"
    );
    let whole = in_session(folder, move |session| {
        eval(session, &prepare);
        timed(|| eval(session, &passes), RUNS)
    });
    whole / PASSES as u32
}
