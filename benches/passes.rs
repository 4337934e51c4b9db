//! Passes through a real model, Gemma 3 270M, beside transformers with the same weights: reading, one layer's activations,
//! gradients at all layers, lenses, patching by layer and position, and ablations judged by a divergence; and one product of
//! matrices, which says how fast the machine was. Writes `docs/benchmarks-passes.md`, or
//! `docs/benchmarks-passes-avx2.md` where the CPU has no AVX-512.
//!
//! `MICROTOME_GEMMA=FOLDER cargo bench --bench passes`, some minutes; without the folder it says that it is skipped. The
//! weights are in `hf` below it. transformers is measured where `MICROTOME_PEER_PYTHON` names an interpreter that has it.

mod common;

use std::path::Path;

use common::turns::Turns;
use common::{BenchPage, Rows, eval, folder, gemma, in_session, milliseconds, once};
use microtome::base::memory;
use microtome::script::Session;

const RUNS: usize = 5;
const TOKENS: usize = 256;
/// Texts that gradients are taken of at once, and the tokens of each.
const TEXTS: [usize; 3] = [1, 8, 64];
const TEXT: usize = 64;

/// What the peer calls the product of two matrices.
const PRODUCT: &str = "product";

/// The name of the peer's work, what is done, and the code that does it.
const PASSES: [(&str, &str, &str); 7] = [
    ("all_logits", "all logits", "m.logits(ids)"),
    ("last_logits", "the last logits", "m.logits(ids, #{ pos: -1 })"),
    ("one_layer", "`resid_post.8` alone", "m.cache(ids, \"resid_post.8\")"),
    (
        "gradients",
        "gradients of one logit at all `resid_pre`",
        "m.grads(ids, |logits| logits.at([0, -1, 5]), \"resid_pre.*\")",
    ),
    ("lens", "logit lens at three layers", "m.lens(ids, [\"resid_post.4\", \"resid_post.9\", \"resid_post.14\"])"),
    ("patching", "patching by layer and position", "intervene::grid(m, pair, #{ sites: \"resid_pre\" })"),
    (
        "ablations",
        "zeroing each `attn_out`, divergence at all positions",
        "intervene::grid(m, ablated, #{ sites: \"attn_out\", by: \"layer\", ablate: \"zero\", metric: metric::kl(#{ positions: \"all\" }) })",
    ),
];

fn main() {
    let Some(gemma) = gemma::folder() else { return };
    let weights = gemma.join("hf");
    let place = folder("passes");
    memory::keep_freed();
    let rows = in_session(&place, move |session| measured(session, &weights));
    BenchPage::new("Benchmarks of passes through a real model", "passes", sentences()).by_instructions().publish(&rows);
}

fn sentences() -> String {
    format!(
        "Gemma 3 270M (18 layers of 640, a vocabulary of 262,144) with dequantised weights in f32, the same in both; {TOKENS} \
         tokens where nothing else is said. Ours and the peer's runs take turns, {RUNS} of each after one that does not count; times are \
         medians, ratios the median and the range of those of single turns. The peer holds what it can: activations of one layer without the layers above, gradients without \
         those of weights, patches of all positions of a layer in one batch. Patched is a pair of prompts of 16 tokens, \
         read by the last logits; ablated are four prompts of 9 to 23 tokens, whose divergence from the run without is a mean over \
         all positions. Products of bf16 are `compute: \"bf16\"` here, and a model in bf16 there."
    )
}

fn measured(session: &mut Session, weights: &Path) -> Rows {
    let numbers = [TOKENS, TEXT].map(|number| number.to_string());
    let asked: Vec<String> = std::iter::once(weights.display().to_string()).chain(numbers).collect();
    let mut peer = Turns::start("passes.py", &asked, &[]);
    let mut rows = Rows::new();
    let mut add = |session: &mut Session, name: &str, what: &str, code: &str| {
        let found = peer.timed(&[name.into()], RUNS, || once(|| eval(session, code)));
        rows.push((what.into(), milliseconds(found.ours())));
        let beside = if name == PRODUCT { "PyTorch" } else { "transformers" };
        rows.push((beside.into(), found.against(name, milliseconds)));
    };
    eval(session, "let a = tensor::randn([2048, 2048]); let b = tensor::randn([2048, 2048]);");
    add(session, PRODUCT, "a product of two matrices of 2,048 by 2,048", "a @ b");
    eval(session, &format!("let m = model::load({weights:?}); {PREPARE}"));
    for (name, what, code) in PASSES {
        add(session, name, what, code);
    }
    for count in TEXTS {
        eval(session, &format!("let batch = (0..{count}).map(|row| row_of.call(row, {TEXT}));"));
        let code = "m.grads(batch, |logits| logits[[\":\", 5]].sum(), \"resid_pre.*\", #{ pos: -1 })";
        let what = format!("gradients of {count} texts of {TEXT} tokens");
        add(session, &format!("gradients_{count}"), &what, code);
    }
    eval(session, &format!("let m = model::load({weights:?}, #{{ compute: \"bf16\" }});"));
    for (name, what, code) in &PASSES[..3] {
        add(session, &format!("{name}_bf16"), &format!("{what}, by products of bf16"), code);
    }
    rows
}

/// The same ids as the peer's.
const PREPARE: &str = "let row_of = |row, n| [2] + (1..n).map(|i| 1000 + (977 * (i - 1) + 7919 * row) % 200_000);
    let ids = row_of.call(0, 256);
    let pair = data::pairs([row_of.call(1, 16)], [row_of.call(1, 8) + row_of.call(2, 16).extract(8)], #{ answers: [5], wrong: [6] });
    let texts = [9, 14, 18, 23].map(|n| row_of.call(n, n));
    let ablated = data::pairs(texts, texts, #{ answers: [5, 5, 5, 5], wrong: [6, 6, 6, 6] });";
