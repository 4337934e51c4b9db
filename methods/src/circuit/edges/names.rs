//! Edges of a model as edges of a graph, and back.

use super::wiring::{Receiver, Sender, Wiring};
use crate::circuit::Port;
use crate::circuit::graph::{Edge, Graph, Node, Part};
use crate::common::*;

/// Builds a graph of some edges with their effects, and the nodes that they lead between.
pub fn graph_of(wiring: &Wiring, edges: impl Iterator<Item = (usize, f64)>) -> Graph {
    let sites = sites(wiring);
    let levels: BTreeMap<&str, usize> = sites.iter().enumerate().map(|(level, site)| (site.as_str(), level)).collect();
    let edges: Vec<(usize, f64)> = edges.collect();
    // A node by the number of its sender; the logits come after all of them.
    let logits = wiring.senders.len();
    let owner = |receiver: usize| wiring.owner(receiver).unwrap_or(logits);
    let mut is_used = vec![false; logits + 1];
    for (edge, _) in &edges {
        let (sender, receiver) = wiring.ends(*edge);
        (is_used[sender], is_used[owner(receiver)]) = (true, true);
    }
    let mut graph = Graph { is_whole: true, ..Graph::default() };
    let mut places = vec![0; logits + 1];
    for number in (0..=logits).filter(|number| is_used[*number]) {
        let (site, part) = match wiring.senders.get(number) {
            Some(Sender::Embed) => ("embed".into(), Part::Whole),
            Some(Sender::Head { layer, head }) => (format!("z.{layer}"), Part::Head(*head)),
            Some(Sender::Mlp { layer }) => (format!("mlp_out.{layer}"), Part::Whole),
            None => ("logits".to_string(), Part::Whole),
        };
        places[number] = graph.nodes.len();
        let level = levels.get(site.as_str()).copied().unwrap_or(0);
        graph.nodes.push(Node::new(site, level, part));
    }
    for (edge, effect) in edges {
        let (sender, receiver) = wiring.ends(edge);
        let port = match wiring.receivers[receiver] {
            Receiver::Port { port, .. } => Some(port),
            _ => None,
        };
        graph.edges.push(Edge { port, ..Edge::new(places[sender], places[owner(receiver)], effect) });
    }
    graph.sites = sites;
    graph
}

/// Returns the sites of all nodes, in the order of the computation.
pub fn sites(wiring: &Wiring) -> Vec<String> {
    let mut sites = vec!["embed".to_string()];
    for layer in 0..wiring.layers {
        sites.push(format!("z.{layer}"));
        if wiring.sender(Sender::Mlp { layer }).is_some() {
            sites.push(format!("mlp_out.{layer}"));
        }
    }
    sites.push("logits".into());
    sites
}

/// Returns the sender that a node is, or none for the logits.
pub fn sender(wiring: &Wiring, node: &Node) -> Result<Option<usize>> {
    let layer = |prefix: &str| node.site.strip_prefix(prefix).and_then(|layer| layer.parse::<usize>().ok());
    let found = match node.part {
        _ if node.position.is_some() => None,
        Part::Whole if node.site == "logits" => return Ok(None),
        Part::Whole if node.site == "embed" => wiring.sender(Sender::Embed),
        Part::Whole => layer("mlp_out.").and_then(|layer| wiring.sender(Sender::Mlp { layer })),
        Part::Head(head) => layer("z.").and_then(|layer| wiring.sender(Sender::Head { layer, head })),
        _ => None,
    };
    found.map(Some).ok_or_else(|| {
        err!(
            Argument,
            "expected nodes that are heads, MLPs, the embedding or the logits of this model, found {}",
            node.name()
        )
        .hint("circuits of edges are found by circuit::edges and circuit::acdc")
    })
}

/// Returns the edges of the model that each edge of a graph stands for: one into a head without a port is all three.
pub fn numbers(wiring: &Wiring, graph: &Graph) -> Result<Vec<Vec<usize>>> {
    let nodes = graph.nodes.iter().map(|node| sender(wiring, node)).collect::<Result<Vec<_>>>()?;
    let name = |index: usize| graph.nodes.get(index).map_or_else(|| index.to_string(), Node::name);
    let each = graph.edges.iter().map(|edge| {
        let refused = || err!(Argument, "this model has no edge from {} to {}", name(edge.from), name(edge.to));
        let (Some(Some(from)), Some(to)) = (nodes.get(edge.from), nodes.get(edge.to)) else { return Err(refused()) };
        let receivers: Vec<Receiver> = match to.map(|to| wiring.senders[to]) {
            None => vec![Receiver::Logits],
            Some(Sender::Mlp { layer }) => vec![Receiver::Mlp { layer }],
            Some(Sender::Head { layer, head }) => {
                let ports = edge.port.map_or(Port::ALL.to_vec(), |port| vec![port]);
                ports.into_iter().map(|port| Receiver::Port { layer, head, port }).collect()
            }
            Some(Sender::Embed) => return Err(refused()),
        };
        let number = |receiver: &Receiver| {
            let receiver = wiring.receiver(*receiver).filter(|receiver| wiring.before(*receiver).contains(from));
            receiver.map(|receiver| wiring.edge(*from, receiver)).ok_or_else(refused)
        };
        receivers.iter().map(number).collect()
    });
    each.collect()
}
