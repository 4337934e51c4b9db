//! Circuits of edges as what every judgement of circuits ablates around.

use super::names::numbers;
use super::runs::EdgeRuns;
use super::wiring::{Receiver, Sender};
use crate::base::{Result, Task};
use crate::circuit::ablations::Ablations;
use crate::circuit::graph::Graph;

impl Ablations for EdgeRuns<'_> {
    fn units(&self) -> usize {
        self.wiring.edges()
    }

    fn kept(&self, graph: &Graph) -> Result<Vec<bool>> {
        let mut kept = vec![false; self.units()];
        for edge in numbers(&self.wiring, graph)?.into_iter().flatten() {
            kept[edge] = true;
        }
        Ok(kept)
    }

    /// Edges are alike that lead from the same kind of node into the same kind of input.
    fn alike(&self) -> Vec<usize> {
        let class = |edge: usize| {
            let (sender, receiver) = self.wiring.ends(edge);
            let from = match self.wiring.senders[sender] {
                Sender::Embed => 0,
                Sender::Head { .. } => 1,
                Sender::Mlp { .. } => 2,
            };
            let to = match self.wiring.receivers[receiver] {
                Receiver::Port { port, .. } => port as usize,
                Receiver::Mlp { .. } => 3,
                Receiver::Logits => 4,
            };
            5 * from + to
        };
        (0..self.units()).map(class).collect()
    }

    fn values(&self, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
        self.with_kept(kept, task)
    }
}
