//! The causal tree of a feature, what a model predicts without single features, both beside loops of full forward
//! passes in PyTorch; and one pass over all features of a dictionary, beside the harvest that it reads. Writes
//! `docs/benchmarks-circuit.md`.
//!
//! `cargo bench --bench circuit`; the loop is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has transformers.

mod common;
#[path = "circuit/made.rs"]
mod made;
#[path = "circuit/predicting.rs"]
mod predicting;
#[path = "circuit/survey.rs"]
mod survey;
#[path = "circuit/tree.rs"]
mod tree;

use common::{BenchPage, Rows, child};
use microtome::base::memory;

const LAYERS: usize = 6;
const D: usize = 512;
const FEATURES: usize = 4096;
/// Codes of a row.
const K: usize = 32;
const CONTEXTS: usize = 20;
const LENGTH: usize = 30;
/// The number of features for which the loop is timed; the others take as long.
const TIMED: usize = 300;

fn main() {
    memory::keep_freed();
    if let Some((part, _)) = child::part() {
        return survey::print(&part);
    }
    let mut rows = Rows::new();
    survey::rows(&mut rows);
    tree::rows(&mut rows);
    predicting::rows(&mut rows);
    let sentences = format!(
        "The tree is of one feature of the last of {LAYERS} random top-k dictionaries ({FEATURES} features, {K} codes a row) \
         on the stream behind each block of a model of the shape of Pythia-70M with random weights, in f32: {CONTEXTS} \
         contexts of {LENGTH} tokens, three children, below the first level only the strongest child followed, as the \
         authors' notebook does, and no edge left out. The loop runs transformers' GPT-NeoX once for each feature of the \
         dictionary before, all contexts in one batch, with a hook that takes the feature off at all positions; codes are \
         computed once, beforehand. It is timed for {TIMED} features of the first node, and scaled to all features of all \
         nodes that were expanded. What the contexts of a node are is found beforehand for both. {} {}",
        predicting::SENTENCE,
        survey::SENTENCE
    );
    BenchPage::new("Benchmarks of circuits", "circuit", sentences).publish(&rows);
}

fn human(bytes: Option<u64>) -> String {
    bytes.map_or("not measured: no VmHWM here".into(), common::human)
}
