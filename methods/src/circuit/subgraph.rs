//! Parts of a graph by the size of effects: the largest, those above a threshold, or from the target back, each with or
//! without dangling nodes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::dictionaries::Circuit;
use super::graph::{Graph, Units};
use crate::common::*;

crate::options! {
    /// Options of a part of a graph.
    #[derive(Debug, Clone, Copy)]
    pub struct SubgraphOptions {
        /// Whether nodes are removed, with their edges, that have none from earlier nodes or none to later ones; the
        /// first site needs none from earlier ones, and the last none to later ones.
        prune: bool = true;
    }

    /// Options of the largest part of a graph.
    #[derive(Debug, Clone, Copy)]
    pub struct TopOptions {
        /// The share of the units that is taken first, from those of the most negative effect: of a logit difference,
        /// the units that it hangs on (Nikankin et al. 2025).
        negative: f64 = 0.0 => at_least(0.0).at_most(1.0);
        with part: SubgraphOptions;
    }
}

/// Returns how many edges or nodes are kept: a number of them, or below 1 a share of all.
pub fn count(wanted: f64, all: usize) -> Result<usize> {
    if !(wanted > 0.0 && (wanted < 1.0 || wanted.fract() == 0.0)) {
        return Err(
            err!(Argument, "expected a number of edges or nodes, or a share below 1, found {wanted}").about("n")
        );
    }
    Ok(if wanted < 1.0 { (wanted * all as f64) as usize } else { wanted as usize })
}

/// Keeps the edges, or of a graph of features the nodes, with the largest effects in size: `wanted` of them, or that
/// share; a share of these, from those of the most negative effect, is taken first.
pub fn top(circuit: &Circuit, wanted: f64, options: TopOptions) -> Result<Circuit> {
    let graph = &circuit.graph;
    let effects = effects(graph)?;
    let count = count(wanted, effects.iter().flatten().count())?;
    let mut order: Vec<usize> = (0..effects.len()).filter(|unit| effects[*unit].is_some()).collect();
    // What has no effect of its own, as tokens and logits, stays.
    let mut kept: Vec<bool> = effects.iter().map(Option::is_none).collect();
    let first = at_least_negative(options.negative, count);
    order::sort_ascending(&mut order, |unit| effects[*unit].unwrap_or(0.0));
    order.iter().take(first).for_each(|unit| kept[*unit] = true);
    order.retain(|unit| !kept[*unit]);
    order.sort_by(|a, b| size(effects[*b]).total_cmp(&size(effects[*a])).then(a.cmp(b)));
    order.iter().take(count - first.min(count)).for_each(|unit| kept[*unit] = true);
    Ok(selected(circuit, kept, options.part))
}

/// Returns how many of some units are taken for their negative effect.
pub fn at_least_negative(share: f64, count: usize) -> usize {
    (share * count as f64) as usize
}

/// Keeps the edges, or of a graph of features the nodes, whose effect is at least `threshold` in size.
pub fn above(circuit: &Circuit, threshold: f64, options: SubgraphOptions) -> Result<Circuit> {
    if threshold.is_nan() {
        return Err(err!(Argument, "expected a threshold, found {threshold}").about("threshold"));
    }
    let kept = effects(&circuit.graph)?.iter().map(|effect| effect.is_none() || size(*effect) >= threshold).collect();
    Ok(selected(circuit, kept, options))
}

/// Takes `wanted` edges one after the other: always the largest that leads into the target, or into a node from which
/// an edge was taken (Hanna et al. 2024).
pub fn greedy(circuit: &Circuit, wanted: f64, options: SubgraphOptions) -> Result<Circuit> {
    let graph = &circuit.graph;
    check_edges(graph)?;
    effects(graph)?;
    let mut into: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (number, edge) in graph.edges.iter().enumerate() {
        into[edge.to].push(number);
    }
    let offered = |node: usize| {
        into[node].iter().map(|edge| CandidateEdge { size: graph.edges[*edge].effect.abs(), edge: *edge })
    };
    let mut is_in: Vec<bool> = graph.nodes.iter().map(|node| is_last(graph, node.level)).collect();
    let mut open: BinaryHeap<CandidateEdge> =
        (0..graph.nodes.len()).filter(|node| is_in[*node]).flat_map(offered).collect();
    let mut kept = vec![false; graph.edges.len()];
    for _ in 0..count(wanted, graph.edges.len())? {
        let Some(CandidateEdge { edge, .. }) = open.pop() else { break };
        kept[edge] = true;
        let from = graph.edges[edge].from;
        if !is_in[from] {
            is_in[from] = true;
            open.extend(offered(from));
        }
    }
    Ok(selected(circuit, kept, options))
}

/// Refuses graphs of features, which are sets of nodes.
pub fn check_edges(graph: &Graph) -> Result<()> {
    if graph.units() == Units::Edges {
        return Ok(());
    }
    Err(err!(Argument, "expected a circuit of edges between heads and MLPs, found one of features")
        .hint("`top` and `above` select its nodes"))
}

/// An edge that may be taken: the largest first, of equal ones the first in the graph.
struct CandidateEdge {
    size: f64,
    edge: usize,
}

impl Ord for CandidateEdge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.size.total_cmp(&other.size).then(other.edge.cmp(&self.edge))
    }
}

impl PartialOrd for CandidateEdge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for CandidateEdge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for CandidateEdge {}

fn size(effect: Option<f64>) -> f64 {
    effect.map_or(f64::INFINITY, f64::abs)
}

/// Returns the effects of the edges or nodes that a graph is a set of.
pub fn effects(graph: &Graph) -> Result<Vec<Option<f64>>> {
    let found: Vec<Option<f64>> = match graph.units() {
        Units::Edges => graph.edges.iter().map(|edge| Some(edge.effect)).collect(),
        // The target is no part of what explains it.
        Units::Nodes => graph.nodes.iter().map(|node| node.effect.filter(|_| !is_last(graph, node.level))).collect(),
    };
    if found.iter().flatten().any(|effect| effect.is_nan()) {
        return Err(err!(Numeric, "expected effects that are numbers, found NaN"));
    }
    if graph.units() == Units::Nodes && found.iter().all(Option::is_none) {
        return Err(err!(Argument, "expected nodes with effects of their own, found none")
            .hint("a circuit of circuit::sparse_features or circuit::attribution_graph has them"));
    }
    Ok(found)
}

pub fn is_last(graph: &Graph, level: usize) -> bool {
    level + 1 == graph.sites.len()
}

/// Returns the circuit of some of its units.
pub fn selected(circuit: &Circuit, kept: Vec<bool>, options: SubgraphOptions) -> Circuit {
    let graph = &circuit.graph;
    let (mut nodes, mut edges) = match graph.units() {
        Units::Edges => (vec![true; graph.nodes.len()], kept),
        Units::Nodes => (kept, vec![true; graph.edges.len()]),
    };
    let is_set_of_edges = graph.units() == Units::Edges;
    loop {
        for (edge, kept) in graph.edges.iter().zip(&mut edges) {
            *kept &= nodes[edge.from] && nodes[edge.to];
        }
        let mut has_in = vec![false; nodes.len()];
        let mut has_out = vec![false; nodes.len()];
        for (edge, _) in graph.edges.iter().zip(&edges).filter(|(_, kept)| **kept) {
            (has_out[edge.from], has_in[edge.to]) = (true, true);
        }
        let holds = |number: usize| {
            let level = graph.nodes[number].level;
            if is_last(graph, level) && !is_set_of_edges {
                return true;
            }
            if options.prune {
                (level == 0 || has_in[number]) && (is_last(graph, level) || has_out[number])
            } else {
                // Without edges a node is no part of a set of them.
                !is_set_of_edges || has_in[number] || has_out[number]
            }
        };
        let left: Vec<bool> = (0..nodes.len()).map(|number| nodes[number] && holds(number)).collect();
        if left == nodes {
            return restricted(circuit, &nodes, &edges);
        }
        nodes = left;
    }
}

/// Restricts a circuit to some nodes and edges, with all that belongs to them.
fn restricted(circuit: &Circuit, nodes: &[bool], edges: &[bool]) -> Circuit {
    let mut graph = circuit.graph.clone();
    let mut places = Vec::with_capacity(nodes.len());
    let mut next = 0;
    for kept in nodes {
        places.push(kept.then_some(next));
        next += usize::from(*kept);
    }
    let place = |node: usize| places.get(node).copied().flatten();
    let mut at = nodes.iter();
    graph.nodes.retain(|_| at.next() == Some(&true));
    let chosen = circuit.graph.edges.iter().zip(edges).filter(|(_, kept)| **kept);
    graph.edges = chosen
        .filter_map(|(edge, _)| {
            let from = place(edge.from)?;
            let to = place(edge.to)?;
            Some(super::Edge { from, to, ..edge.clone() })
        })
        .collect();
    for supernode in &mut graph.supernodes {
        supernode.nodes = supernode.nodes.iter().filter_map(|node| place(*node)).collect();
    }
    graph.supernodes.retain(|supernode| !supernode.nodes.is_empty());
    let cards = circuit.cards.iter().zip(nodes).filter(|(_, kept)| **kept).map(|(card, _)| card.clone()).collect();
    Circuit { graph, cards, ..circuit.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::graph::{Edge, Node, Part};

    /// Builds embed -> a (z.0.0), b (z.0.1), m (mlp_out.0), logits.
    fn circuit() -> Circuit {
        let sites = ["embed", "z.0", "mlp_out.0", "logits"].map(String::from).to_vec();
        let node = |level: usize, part| Node::new(sites[level].clone(), level, part);
        let nodes = vec![
            node(0, Part::Whole),
            node(1, Part::Head(0)),
            node(1, Part::Head(1)),
            node(2, Part::Whole),
            node(3, Part::Whole),
        ];
        let edge = |from, to, effect| Edge::new(from, to, effect);
        let edges = vec![
            edge(0, 1, 9.0),
            edge(0, 2, 1.0),
            edge(1, 3, -5.0),
            edge(2, 3, 4.0),
            edge(2, 4, -3.0),
            edge(3, 4, 2.0),
            edge(0, 4, 0.5),
        ];
        Circuit::without_dictionaries(Graph { sites, nodes, edges, is_whole: true, ..Graph::default() })
    }

    fn names(circuit: &Circuit) -> Vec<String> {
        circuit.graph.edges.iter().map(|edge| circuit.graph.edge_name(edge)).collect()
    }

    const ALL: SubgraphOptions = SubgraphOptions { prune: false };
    const PRUNED: SubgraphOptions = SubgraphOptions { prune: true };

    fn top(circuit: &Circuit, wanted: f64, part: SubgraphOptions) -> Result<Circuit> {
        super::top(circuit, wanted, TopOptions { part, ..TopOptions::default() })
    }

    #[test]
    fn the_largest_by_number_by_share_and_by_threshold() {
        let all = circuit();
        let largest = ["embed -> z.0.0", "z.0.0 -> mlp_out.0", "z.0.1 -> mlp_out.0"];
        assert_eq!(names(&top(&all, 3.0, ALL).unwrap()), largest);
        assert_eq!(names(&top(&all, 0.5, ALL).unwrap()), largest);
        assert_eq!(names(&above(&all, 4.0, ALL).unwrap()), largest);
        // None of them leads on to the logits.
        let nothing = top(&all, 3.0, PRUNED).unwrap();
        assert!(nothing.graph.edges.is_empty());
        // The MLP leads on; the second head has nothing from before.
        let pruned = top(&all, 5.0, PRUNED).unwrap();
        assert_eq!(names(&pruned), ["embed -> z.0.0", "z.0.0 -> mlp_out.0", "mlp_out.0 -> logits"]);
        let pruned = top(&all, 6.0, PRUNED).unwrap();
        assert_eq!(names(&pruned).len(), 6);
        assert_eq!(pruned.graph.nodes.len(), 5);
    }

    #[test]
    fn a_share_of_the_most_negative_comes_first() {
        let all = circuit();
        let chosen = |wanted, negative| names(&super::top(&all, wanted, TopOptions { negative, part: ALL }).unwrap());
        assert_eq!(chosen(2.0, 0.5), ["embed -> z.0.0", "z.0.0 -> mlp_out.0"]);
        assert_eq!(chosen(2.0, 1.0), ["z.0.0 -> mlp_out.0", "z.0.1 -> logits"]);
        // Beyond the negative ones the smallest positive ones follow.
        assert_eq!(chosen(3.0, 1.0), ["z.0.0 -> mlp_out.0", "z.0.1 -> logits", "embed -> logits"]);
        assert_eq!(chosen(3.0, 0.0), chosen(3.0, 0.3));
    }

    #[test]
    fn from_the_logits_back() {
        let all = circuit();
        let first = ["z.0.1 -> logits", "mlp_out.0 -> logits", "z.0.0 -> mlp_out.0", "embed -> z.0.0"];
        for count in 1..=4 {
            let mut wanted = first[..count].to_vec();
            wanted.sort_by_key(|name| names(&all).iter().position(|known| known == name));
            assert_eq!(names(&greedy(&all, count as f64, ALL).unwrap()), wanted);
        }
        // The dangling head is removed with its edge.
        let pruned = ["embed -> z.0.0", "z.0.0 -> mlp_out.0", "mlp_out.0 -> logits"];
        assert_eq!(names(&greedy(&all, 4.0, PRUNED).unwrap()), pruned);
    }

    #[test]
    fn circuits_of_features_are_sets_of_nodes() {
        let sites = ["embed", "resid_post.0", "logits"].map(String::from).to_vec();
        let node = |level: usize, part, effect| Node { effect, ..Node::new(sites[level].clone(), level, part) };
        let nodes = vec![
            node(0, Part::Token(3), None),
            node(1, Part::Feature(0), Some(0.1)),
            node(1, Part::Feature(1), Some(-0.9)),
            node(1, Part::Error, Some(0.5)),
            node(2, Part::Token(7), Some(1.0)),
        ];
        let edge = |from, to| Edge::new(from, to, 1.0);
        let edges = vec![edge(0, 1), edge(1, 4), edge(0, 2), edge(2, 4), edge(3, 4)];
        let all = Circuit::without_dictionaries(Graph { sites, nodes, edges, is_whole: true, ..Graph::default() });
        let left = |circuit: Circuit| circuit.graph.nodes.iter().map(Node::name).collect::<Vec<_>>();
        let two = ["embed/3", "resid_post.0/1", "resid_post.0/error", "logits/7"];
        assert_eq!(left(top(&all, 2.0, ALL).unwrap()), two);
        assert_eq!(left(above(&all, 0.5, ALL).unwrap()), two);
        // Nothing leads into the error.
        assert_eq!(left(top(&all, 2.0, PRUNED).unwrap()), ["embed/3", "resid_post.0/1", "logits/7"]);
        assert!(greedy(&all, 2.0, ALL).is_err());
    }

    #[test]
    fn numbers_that_choose_nothing_are_refused() {
        for wrong in [0.0, -1.0, 1.5, f64::NAN] {
            assert_eq!(top(&circuit(), wrong, ALL).unwrap_err().about.as_deref(), Some("n"));
        }
        assert!(above(&circuit(), f64::NAN, ALL).is_err());
        let mut spoilt = circuit();
        spoilt.graph.edges[0].effect = f64::NAN;
        assert!(top(&spoilt, 2.0, ALL).is_err());
    }
}
