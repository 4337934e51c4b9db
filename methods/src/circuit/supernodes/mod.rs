//! Supernodes: nodes of a graph that are drawn and changed as one, and the effect on the model of changing one,
//! compared with the prediction of the graph and with random groups.

mod on_pairs;
mod on_prompt;

use super::graph::{Graph, Node, Supernode};
use crate::common::*;

pub use on_pairs::{GroupAblation, ablate};
pub use on_prompt::{GroupIntervention, intervene};

/// A group of nodes of a graph, or one node, by name.
#[derive(Clone, Copy)]
pub struct GraphGroup<'a> {
    pub graph: &'a Graph,
    pub name: &'a str,
}

crate::options! {
    /// Random groups that a group is compared with.
    pub struct RandomGroupOptions {
        /// Number of random groups of as many nodes of the same kinds.
        draws: usize = 10 => at_least(1.0);
        /// Seed of the draws and of the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

impl Graph {
    /// Groups nodes under a name.
    pub fn group(&mut self, name: &str, nodes: &[usize]) -> Result<()> {
        if nodes.is_empty() {
            return Err(err!(Argument, "expected nodes to group as `{name}`, found none").about("nodes"));
        }
        if name.is_empty() || self.nodes.iter().any(|node| node.name() == name) {
            return Err(err!(Argument, "expected a name that no node has, found `{name}`").about("name"));
        }
        if self.supernodes.iter().any(|known| known.name == name) {
            return Err(err!(Argument, "expected a new name, found `{name}`, which a group has already").about("name"));
        }
        for (place, node) in nodes.iter().enumerate() {
            let Some(one) = self.nodes.get(*node) else {
                let count = self.nodes.len();
                return Err(err!(Argument, "expected some of {count} nodes, found {node}").about("nodes"));
            };
            let within =
                self.supernodes.iter().find(|known| known.nodes.contains(node)).map(|known| known.name.as_str());
            let twice = nodes[..place].contains(node).then_some(name);
            if let Some(group) = within.or(twice) {
                let node = one.name();
                return Err(
                    err!(Argument, "expected each node in one group, found {node} in `{group}` already").about("nodes")
                );
            }
        }
        self.supernodes.push(Supernode { name: name.into(), nodes: nodes.to_vec() });
        Ok(())
    }

    /// Returns the nodes of a supernode, or the node of this name.
    pub fn members(&self, name: &str) -> Result<Vec<usize>> {
        if let Some(group) = self.supernodes.iter().find(|group| group.name == name) {
            return Ok(group.nodes.clone());
        }
        self.numbered(name).map(|node| vec![node])
    }

    /// Returns the number of the node of this name.
    pub fn numbered(&self, name: &str) -> Result<usize> {
        self.nodes.iter().position(|node| node.name() == name).ok_or_else(|| {
            let known: Vec<String> = self.nodes.iter().map(Node::name).collect();
            let groups = self.supernodes.iter().map(|group| group.name.as_str());
            let near = names::suggestion(name, known.iter().map(String::as_str).chain(groups));
            err!(Name, "expected a node or a group of the graph, found `{name}`").maybe_hint(near)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::graph::{Edge, Part};

    const EDGES: [(usize, usize); 4] = [(0, 2), (0, 3), (1, 3), (2, 3)];

    /// Builds a graph of two heads and an MLP into the logits.
    fn graph() -> Graph {
        let parts = [("z.0", 0, Part::Head(0)), ("z.0", 0, Part::Head(1)), ("mlp_out.0", 1, Part::Whole)];
        let mut nodes: Vec<Node> = parts.into_iter().map(|(site, level, part)| Node::new(site, level, part)).collect();
        nodes.push(Node::new("logits", 2, Part::Whole));
        let edges = EDGES.iter().enumerate();
        let edges = edges.map(|(i, (from, to))| Edge::new(*from, *to, -((i + 1) as f64)));
        let sites = ["z.0", "mlp_out.0", "logits"].map(String::from).to_vec();
        Graph { sites, nodes, edges: edges.collect(), ..Graph::default() }
    }

    #[test]
    fn groups_are_of_nodes_that_are_in_no_other() {
        let mut graph = graph();
        graph.group("early", &[0, 2]).unwrap();
        assert_eq!(graph.members("early").unwrap(), [0, 2]);
        assert_eq!(graph.members("z.0.1").unwrap(), [1]);
        let mut error = |name: &str, nodes: &[usize]| graph.group(name, nodes).unwrap_err().message;
        assert_eq!(error("more", &[]), "expected nodes to group as `more`, found none");
        assert_eq!(error("more", &[1, 9]), "expected some of 4 nodes, found 9");
        assert_eq!(error("more", &[1, 2]), "expected each node in one group, found mlp_out.0 in `early` already");
        assert_eq!(error("more", &[1, 1]), "expected each node in one group, found z.0.1 in `more` already");
        assert_eq!(error("early", &[1]), "expected a new name, found `early`, which a group has already");
        assert_eq!(error("z.0.1", &[3]), "expected a name that no node has, found `z.0.1`");
        assert_eq!(Graph::parse(&graph.json().unwrap()).unwrap(), graph);
    }
}
