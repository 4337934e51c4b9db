//! Runs of a model with everything outside a circuit ablated, which every judgement of a circuit needs.

use super::graph::{Graph, Node};
use crate::common::*;
use crate::model::weight::Weight;

/// Units that circuits of one kind are sets of (the edges between all heads and MLPs, or the features and errors of
/// some dictionaries), and runs of a model with only some of them kept.
pub trait Ablations {
    /// Returns the number of units in the model.
    fn units(&self) -> usize;

    /// Returns whether a graph has each unit, and refuses a graph with nodes or edges that are not units.
    fn kept(&self, graph: &Graph) -> Result<Vec<bool>>;

    /// Returns the class of each unit. A random circuit draws as many units of each class as the circuit that it is
    /// compared with has.
    fn alike(&self) -> Vec<usize>;

    /// Returns the metric of each pair, with all units but the kept ones ablated.
    fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>>;
}

/// Ablations whose nodes can be grouped: heads, MLPs and the embedding, or features and errors.
pub trait NodeAblations: Ablations {
    /// Returns the class of each node. A random group draws as many nodes of each class as the group that it is
    /// compared with has.
    fn node_classes(&self) -> Vec<usize>;

    /// Returns the number of a graph's node among those of the model, and refuses a node that is not among them.
    fn node(&self, node: &Node) -> Result<usize>;

    /// Returns the units that are ablated when everything that a node writes is ablated.
    fn units_of(&self, node: usize) -> Vec<usize>;
}

/// Builds the error for a metric that is not a number for a pair; `when` names the run.
pub fn no_number(value: f64, pair: usize, when: &str) -> Error {
    err!(Numeric, "the metric of pair {pair} is {value}{when}")
        .hint("look for NaN in the model's weights or activations")
        .about("pairs")
}

/// Adds the name of the model's first weight that is not finite, if there is one, to a numeric error.
pub fn naming_weights(error: Error, model: &Model) -> Error {
    if error.kind != Kind::Numeric {
        return error;
    }
    let config = model.decoder.config();
    let named = model.decoder.weights().named(config).unwrap_or_default();
    let broken = named.iter().find(|(_, weight)| match weight {
        Weight::Numbers(numbers) => kernels::global_norm([numbers]).is_ok_and(|norm| !norm.is_finite()),
        Weight::Packed(_) => false,
        Weight::Adapted(_) => {
            let norm = weight.tensor().map(|merged| kernels::global_norm([&merged]));
            norm.is_ok_and(|norm| norm.is_ok_and(|norm| !norm.is_finite()))
        }
    });
    match broken {
        Some((name, _)) => error.hint(format!("the weight `{name}` has numbers that are not finite")),
        None => error,
    }
}
