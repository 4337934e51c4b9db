//! Runs of a model in which all but a circuit is ablated: what every judgement of a circuit needs.

use super::graph::Graph;
use crate::base::{Result, Task};

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
