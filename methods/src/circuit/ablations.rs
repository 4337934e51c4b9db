//! Runs of a model in which all but a circuit is ablated: what every judgement of a circuit needs.

use super::graph::{Graph, Node};
use crate::base::{Error, Kind, Result, Task};
use crate::err;
use crate::model::Model;
use crate::model::weight::Weight;

/// All units that circuits of one kind are sets of, and the runs of a model with some of them kept: the edges between all
/// heads and MLPs, or the features and errors of some dictionaries.
pub trait Ablations {
    /// The number of units in the model.
    fn units(&self) -> usize;

    /// Whether a graph has each unit; refuses a graph with nodes or edges that are none.
    fn kept(&self, graph: &Graph) -> Result<Vec<bool>>;

    /// The class of each unit: a random circuit draws as many of each class as the circuit has that it stands beside.
    fn alike(&self) -> Vec<usize>;

    /// The metric of each pair, with the units that are not kept ablated.
    fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>>;
}

/// The same with the nodes of the model that groups are made of: heads, MLPs and the embedding, or features and errors.
pub trait NodeAblations: Ablations {
    /// The class of each node: a random group draws as many of each class as the group has that it stands beside.
    fn node_classes(&self) -> Vec<usize>;

    /// The number of a graph's node among these; refuses what is none of them.
    fn node(&self, node: &Node) -> Result<usize>;

    /// The units that are ablated where all that a node writes is.
    fn units_of(&self, node: usize) -> Vec<usize>;
}

/// The error of a metric that is no number for a pair; `when` says in which run.
pub fn no_number(value: f64, pair: usize, when: &str) -> Error {
    err!(Numeric, "the metric of pair {pair} is {value}{when}")
        .hint("look for NaN in the model's weights or activations")
        .about("pairs")
}

/// An error of numbers with the name of the model's first weight that is not finite, where there is one.
pub fn naming_weights(error: Error, model: &Model) -> Error {
    if error.kind != Kind::Numeric {
        return error;
    }
    let config = model.decoder.config();
    let named = model.decoder.weights().named(config).unwrap_or_default();
    let broken = named.iter().find(|(_, weight)| match weight {
        Weight::Numbers(numbers) => kernels::global_norm([numbers]).is_ok_and(|norm| !norm.is_finite()),
        Weight::Packed(_) => false,
    });
    match broken {
        Some((name, _)) => error.hint(format!("the weight `{name}` has numbers that are not finite")),
        None => error,
    }
}
