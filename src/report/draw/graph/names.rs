//! How nodes and effects of a circuit are called where there is little room.

use crate::base::Cell;
use crate::circuit::{Edge, Graph, Node};
use crate::report::number;
use crate::report::symbols::visible;

/// A short name for each node: layer and index, as in `5/1044`, where all sites are of one kind, else site and index.
pub fn nodes(graph: &Graph) -> Vec<String> {
    let split = |site: &str| site.rsplit_once('.').map(|(kind, layer)| (kind.to_string(), layer.to_string()));
    let is_number = |layer: &str| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit());
    let kinds: Vec<_> = graph.sites.iter().map(|site| split(site)).collect();
    let is_one_kind = kinds.iter().all(|found| {
        found.as_ref().is_some_and(|(kind, layer)| {
            is_number(layer) && kinds.first().is_some_and(|first| first.as_ref().is_some_and(|first| first.0 == *kind))
        })
    });
    let name = |node: &Node| match split(&node.site).filter(|_| is_one_kind) {
        Some((_, layer)) => visible(&Node { site: layer, ..node.clone() }.name()),
        None => visible(&node.name()),
    };
    graph.nodes.iter().map(name).collect()
}

/// An effect as a share, as in `57 %`, with a decimal where it is less than one; or as a number of the graph's quantity.
pub fn effect(graph: &Graph, edge: &Edge) -> String {
    if graph.quantity.is_some() {
        return number::digits(edge.effect, 3);
    }
    let decimals = if edge.effect.abs() < 0.0095 { 1 } else { 0 };
    format!("{} %", number::fixed(100.0 * edge.effect, decimals))
}

/// What effects are shares of: of what a feature loses when an earlier one is ablated, or of what an earlier one alone
/// restores of it. How a graph was made tells which.
pub fn is_restored(graph: &Graph) -> bool {
    graph.made.iter().any(|(name, value)| name == "way" && *value == Cell::from("restore"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Part;

    #[test]
    fn layers_name_nodes_only_where_all_sites_are_of_one_kind() {
        let node = |site: &str, level| Node::new(site, level, Part::Feature(7));
        let graph = |sites: [&str; 2]| Graph {
            sites: sites.map(String::from).to_vec(),
            nodes: vec![node(sites[1], 1), node(sites[0], 0)],
            ..Graph::default()
        };
        assert_eq!(nodes(&graph(["resid_post.2", "resid_post.10"])), ["10/7", "2/7"]);
        assert_eq!(nodes(&graph(["attn_out.0", "mlp_out.0"])), ["mlp_out.0/7", "attn_out.0/7"]);
        assert_eq!(nodes(&graph(["embed", "final\n"])), ["final↵/7", "embed/7"]);
    }

    #[test]
    fn effects_are_shares_without_needless_decimals() {
        let edge = |value: f64| Edge { from: 0, to: 0, port: None, effect: value, cosine: None };
        let of = |value: f64| effect(&Graph::default(), &edge(value));
        assert_eq!([of(0.571), of(-0.304), of(0.004), of(0.0), of(1.0)], ["57 %", "-30 %", "0.4 %", "0.0 %", "100 %"]);
    }
}
