//! Floor 9: circuits: which features cause which, and how well a circuit explains its target.

pub mod ablations;
pub mod attribution;
pub mod dictionaries;
pub mod due;
pub mod enough;
pub mod graph;
pub mod judge;
pub mod selection;
pub mod shared;
pub mod tree;

#[cfg(test)]
mod samples;

use crate::base::{Result, memory};
use crate::model::Model;

pub use ablations::Ablations;
pub use dictionaries::Circuit;
pub use graph::{Edge, Graph, Node, Part, Port, Supernode, Units};
pub use selection::Selection;

/// The length of rows for evaluations, if the model's context is as long: hundreds of runs read all of them.
const CONTEXT: usize = 32;

/// The length of rows of a text: `context`, or else `usual`, which a shorter context of the model limits.
fn row_length(model: &Model, context: Option<usize>, usual: usize) -> usize {
    context.unwrap_or(usual.min(model.decoder.config().context))
}

/// Refuses more random sets, of `features` in all for each draw, than memory holds with their runs.
fn check_draws(draws: usize, features: usize) -> Result<()> {
    memory::check(draws as u128 * features as u128 * 64, || format!("{draws} random sets"))
        .map_err(|e| e.about("draws"))
}
