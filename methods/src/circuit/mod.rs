//! Floor 14: circuits. Features that cause others, and measures of how well a circuit explains its target.
//!
//! ```rust,no_run
//! use microtome_methods::circuit::tree::{TreeOptions, causal_tree};
//! use microtome_methods::features::predicting::{PredictingOptions, predicting};
//! use microtome_methods::prelude::*;
//!
//! /// Finds the features on which the one that promotes ")" most depends, in dictionaries of several layers.
//! fn closing(model: &Model, saes: &[Sae], text: &Text, task: &Task) -> Result<Circuit> {
//!     let last = &saes[saes.len() - 1];
//!     let options = PredictingOptions { candidates: 4, ..Default::default() };
//!     let ranking = predicting(model, last, text, &[")".into()], &options, task)?;
//!     let options = TreeOptions { contexts: 4, children: 2, ..Default::default() };
//!     causal_tree(model, saes, &ranking.feature(0)?, text, &options, task)
//! }
//! ```

pub mod ablations;
pub mod attribution;
pub mod attribution_graph;
pub mod bridges;
pub mod channels;
pub mod compiled;
pub mod dictionaries;
mod dot;
pub mod due;
pub mod edges;
pub mod ensemble;
pub mod faithfulness;
pub mod graph;
pub mod judge;
pub mod minimal;
pub mod program;
pub mod qk;
pub mod selection;
pub mod shared;
pub mod sparse_features;
pub mod subgraph;
pub mod sufficiency;
pub mod supernodes;
pub mod tree;

#[cfg(test)]
mod samples;

use crate::base::json;
use crate::common::*;

use attribution_graph::neuronpedia;
use edges::eap_file;

pub use ablations::Ablations;
pub use dictionaries::Circuit;
pub use graph::{Edge, EdgeHeads, EdgeScore, Graph, HeadLoading, Node, Part, Port, ScorePair, Supernode, Units};
pub use selection::Selection;

/// The length of rows for evaluations, if the model's context is as long: hundreds of runs read all of them.
const CONTEXT: usize = 32;

/// Reads a circuit from JSON: our own format, that of EAP-IG, or an attribution graph of circuit-tracer and
/// Neuronpedia.
pub fn parsed(text: &str) -> Result<Graph> {
    if eap_file::is_one(text) {
        return eap_file::parse(text, false);
    }
    match json::read_content::<serde_json::Value>(text.as_bytes(), |e| err!(Format, "expected JSON, found: {e}")) {
        Ok(value) if neuronpedia::is_theirs(&value) => neuronpedia::parse(&value),
        _ => Graph::parse(text),
    }
}

/// Returns the length of rows of a text: `context`, or else `usual`, which a shorter context of the model limits.
fn row_length(model: &Model, context: Option<usize>, usual: usize) -> usize {
    context.unwrap_or(usual.min(model.decoder.config().context))
}

/// Refuses more random sets, of `features` in all for each draw, than memory holds with their runs.
fn check_draws(draws: usize, features: usize) -> Result<()> {
    memory::check(draws as u128 * features as u128 * 64, || format!("{draws} random sets"))
        .map_err(|e| e.about("draws"))
}
