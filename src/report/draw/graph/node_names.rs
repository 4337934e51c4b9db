//! Names of the nodes and effects of a circuit where there is little room, and the nodes at which it ends.

use crate::base::Cell;
use crate::circuit::{Graph, Node};
use crate::report::number;
use crate::report::visible_text::visible;

use super::strongest_part::WeightedEdge;

/// Returns a short name for each node: layer and index, as in `5/1044`, for features and errors where their sites are
/// all of one kind, else site and part.
pub fn nodes(graph: &Graph) -> Vec<String> {
    let is_coded = |node: &&Node| node.is_unit();
    let mut kinds: Vec<Option<&str>> =
        graph.nodes.iter().filter(is_coded).map(|node| layer(&node.site).map(|(kind, _)| kind)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let is_one_kind = matches!(kinds[..], [Some(_)]);
    let name = |node: &Node| match layer(&node.site).filter(|_| is_one_kind && is_coded(&node)) {
        Some((_, layer)) => visible(&Node { site: layer.into(), ..node.clone() }.name()),
        None => visible(&node.name()),
    };
    graph.nodes.iter().map(name).collect()
}

/// Returns the kind of a site and the number of its layer, if it has one.
fn layer(site: &str) -> Option<(&str, &str)> {
    let is_number = |layer: &str| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit());
    site.rsplit_once('.').filter(|(_, layer)| is_number(layer))
}

/// Writes an effect as a share, as in `57 %`, with a decimal where it is less than one; or as a number of the graph's
/// quantity.
pub fn effect(graph: &Graph, effect: f64) -> String {
    if graph.quantity.is_some() {
        return number::digits(effect, 3);
    }
    let decimals = if effect.abs() < 0.0095 { 1 } else { 0 };
    format!("{} %", number::fixed(100.0 * effect, decimals))
}

/// Returns whether effects are shares of what an earlier feature alone restores of a later one, and not of what the
/// later one loses when the earlier one is ablated. How a graph was made tells which.
pub fn is_restored(graph: &Graph) -> bool {
    graph.made.iter().any(|(name, value)| name == "way" && *value == Cell::from("restore"))
}

/// Returns whether a node is a logit, or all of them.
pub fn is_logit(node: &Node) -> bool {
    node.site == "logits"
}

/// Returns the nodes that a graph explains: its logits, else of a tree its first node, else what alone stands last.
pub fn targets(graph: &Graph) -> Vec<usize> {
    let having = |is: &dyn Fn(&Node) -> bool| -> Vec<usize> {
        graph.nodes.iter().enumerate().filter(|(_, node)| is(node)).map(|(i, _)| i).collect()
    };
    let logits = having(&is_logit);
    if !logits.is_empty() {
        return logits;
    }
    let last = graph.nodes.iter().map(|node| node.level).max().unwrap_or_default();
    let at_end = having(&|node: &Node| node.level == last);
    match graph.quantity {
        None => at_end.into_iter().filter(|node| *node == 0).collect(),
        Some(_) if at_end.len() == 1 => at_end,
        Some(_) => Vec::new(),
    }
}

/// Returns the nodes from which a graph is read: its targets, then those that lead nowhere.
pub fn roots(nodes: usize, ways: &[WeightedEdge], targets: &[usize]) -> Vec<usize> {
    let mut is_end = vec![true; nodes];
    ways.iter().for_each(|(from, _, _)| is_end[*from] = false);
    targets.iter().for_each(|target| is_end[*target] = false);
    let ends = is_end.iter().enumerate().filter(|(_, is_end)| **is_end).map(|(node, _)| node);
    targets.iter().copied().chain(ends).collect()
}

/// Returns the supernode of each node, the first one where several have it.
pub fn groups(graph: &Graph) -> Vec<Option<usize>> {
    let mut found = vec![None; graph.nodes.len()];
    for (i, group) in graph.supernodes.iter().enumerate().rev() {
        for node in &group.nodes {
            if let Some(found) = found.get_mut(*node) {
                *found = Some(i);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Part;
    use crate::circuit::Supernode;

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph { nodes, ..Graph::default() }
    }

    fn feature(site: &str, level: usize) -> Node {
        Node::new(site, level, Part::Feature(7))
    }

    #[test]
    fn layers_name_features_only_where_their_sites_are_of_one_kind() {
        let named = |sites: [&str; 2]| nodes(&graph(vec![feature(sites[1], 1), feature(sites[0], 0)]));
        assert_eq!(named(["resid_post.2", "resid_post.10"]), ["10/7", "2/7"]);
        assert_eq!(named(["attn_out.0", "mlp_out.0"]), ["mlp_out.0/7", "attn_out.0/7"]);
        assert_eq!(named(["embed", "final\n"]), ["final↵/7", "embed/7"]);
        let error = Node { position: Some(4), ..Node::new("mlp_out.1", 3, Part::Error) };
        let others = [Node::new("z.1", 2, Part::Head(3)), Node::new("embed", 0, Part::Token(42))];
        let all = graph([vec![feature("mlp_out.0", 1), error], others.to_vec()].concat());
        assert_eq!(nodes(&all), ["0/7", "1/error@4", "z.1.3", "embed/42"]);
    }

    #[test]
    fn effects_are_shares_without_needless_decimals_or_numbers() {
        let of = |value: f64| effect(&Graph::default(), value);
        assert_eq!([of(0.571), of(-0.304), of(0.004), of(0.0), of(1.0)], ["57 %", "-30 %", "0.4 %", "0.0 %", "100 %"]);
        let graph = Graph { quantity: Some("nats".into()), ..Graph::default() };
        assert_eq!([effect(&graph, 0.12345), effect(&graph, -2e-9)], ["0.123", "-2e-9"]);
    }

    #[test]
    fn targets_are_logits_or_the_end_of_a_tree_or_what_alone_stands_last() {
        let mut tree = graph(vec![feature("resid_post.1", 1), feature("resid_post.1", 1), feature("resid_post.0", 0)]);
        assert_eq!(targets(&tree), [0]);
        tree.quantity = Some("effect".into());
        assert!(targets(&tree).is_empty());
        tree.nodes.remove(1);
        assert_eq!(targets(&tree), [0]);
        tree.nodes.extend([1, 2].map(|token| Node::new("logits", 2, Part::Token(token))));
        assert_eq!(targets(&tree), [2, 3]);
        assert_eq!(roots(4, &[(0, 2, 0.5)], &[2]), [2, 1, 3]);
    }

    #[test]
    fn a_node_of_two_groups_is_of_the_first() {
        let mut graph = graph(vec![feature("a.0", 0), feature("a.1", 1), feature("a.2", 2)]);
        let group = |nodes: &[usize]| Supernode { name: "g".into(), nodes: nodes.to_vec() };
        graph.supernodes = vec![group(&[1]), group(&[0, 1])];
        assert_eq!(groups(&graph), [Some(1), Some(0), None]);
    }
}
