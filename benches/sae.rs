//! Steps of fitting dictionaries, beside those of Python libraries. Writes `docs/benchmarks-sae.md`, or
//! `docs/benchmarks-sae-avx2.md` when it is built without AVX-512.
//!
//! `cargo bench --bench sae`; the libraries are measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has dictionary-learning, sae-lens and eai-sparsify.

mod common;
#[path = "common/peers.rs"]
mod peers;
#[path = "sae/step.rs"]
mod step;

use common::{Rows, milliseconds, publish, timed};
use microtome::base::memory;
use peers::{Peers, rate};
use step::Fit;

const RUNS: usize = 7;
const D: usize = 512;
/// Codes of a row, where a kind says how many.
const K: usize = 32;
/// Codes of a row of kinds whose penalty says how many.
const L0: usize = 50;
const ROWS: usize = 4096;
const WIDTHS: [usize; 2] = [4096, 16_384];
/// Each kind, and the peers that have it.
const KINDS: [(&str, &[&str]); 5] = [
    ("topk", &["dictionary_learning_topk", "sae_lens_topk", "sparsify_topk"]),
    ("batch_topk", &["dictionary_learning_batch_topk"]),
    ("relu", &["dictionary_learning_relu", "sae_lens_relu"]),
    ("tied", &["dictionary_learning_relu", "sae_lens_relu"]),
    ("jumprelu", &["dictionary_learning_jumprelu"]),
];

fn main() {
    memory::keep_freed();
    let numbers: Vec<usize> = [RUNS, D, K, ROWS].into_iter().chain(WIDTHS).collect();
    let peers = Peers::measure("sae.py", &numbers);
    let mut rows = Rows::new();
    for features in WIDTHS {
        for (kind, theirs) in KINDS {
            let mut fit = Fit::new(kind, features);
            let step = timed(|| fit.step(), RUNS);
            let ours = format!("{} ({}, L0 {:.0})", rate(ROWS, step), milliseconds(step), fit.l0());
            rows.push((format!("`{kind}`, {features} features"), ours));
            for peer in theirs {
                let found = peers.against(&format!("{peer}_{features}"), step, |step| rate(ROWS, step));
                rows.push((format!("{peer}, the same"), found));
            }
        }
        let mut dense = Fit::dense(features);
        let step = timed(|| dense.step(), 3);
        let ours = format!("{} ({}, L0 {:.0})", rate(ROWS, step), milliseconds(step), dense.l0());
        rows.push((format!("`relu`, {features} features, half of them firing"), ours));
    }
    let sentences = format!(
        "Times are medians of {RUNS} steps after one that does not count, ratios those of medians of the same run. \
         Activations are {D} wide and random, a batch has {ROWS} rows, everything is f32; a step is whole: codes, gradients \
         of all weights, clipping, Adam, directions at length 1, and the count of dead features (none is dead). `topk` and \
         `batch_topk` take {K} codes a row; the biases of the others leave about {L0}, which changes nothing for the \
         libraries."
    );
    let file = if cfg!(feature = "avx512") { "benchmarks-sae.md" } else { "benchmarks-sae-avx2.md" };
    publish("Benchmarks of dictionaries", "sae", file, &sentences, &rows);
}
