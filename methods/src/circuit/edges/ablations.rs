//! Ablations of circuits of edges, which every judgement of circuits needs.

use super::names::{numbers, sender};
use super::runs::EdgeRuns;
use super::wiring::{Receiver, Sender};
use crate::circuit::ablations::{Ablations, NodeAblations};
use crate::circuit::graph::{Graph, Node};
use crate::common::*;

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

    /// Returns the class of each edge. Edges are of one class if they lead from the same kind of node into the same
    /// kind of input.
    fn alike(&self) -> Vec<usize> {
        let class = |edge: usize| {
            let (sender, receiver) = self.wiring.ends(edge);
            let from = kind(self.wiring.senders[sender]);
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

impl NodeAblations for EdgeRuns<'_> {
    fn node_classes(&self) -> Vec<usize> {
        self.wiring.senders.iter().map(|sender| kind(*sender)).collect()
    }

    fn node(&self, node: &Node) -> Result<usize> {
        sender(&self.wiring, node)?.ok_or_else(|| {
            err!(Argument, "expected heads, MLPs or the embedding to ablate, found {}", node.name())
                .hint("what is behind the last node is what the metric reads")
        })
    }

    /// Returns all edges that leave a node.
    fn units_of(&self, node: usize) -> Vec<usize> {
        let receivers =
            (0..self.wiring.receivers.len()).filter(|receiver| self.wiring.before(*receiver).contains(&node));
        receivers.map(|receiver| self.wiring.edge(node, receiver)).collect()
    }
}

fn kind(sender: Sender) -> usize {
    match sender {
        Sender::Embed => 0,
        Sender::Head { .. } => 1,
        Sender::Mlp { .. } => 2,
    }
}
