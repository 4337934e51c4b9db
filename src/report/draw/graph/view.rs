//! Graphs as they are drawn: a box for each node or supernode, and the edges between boxes, those of a supernode's
//! members added up. Of a graph that would be a tangle the strongest part is drawn.

use std::collections::BTreeMap;

use super::node_names;
use super::strongest_part::{self, WeightedEdge};
use crate::base::counts::count;
use crate::circuit::{Graph, Port};

/// Numbers of nodes and edges beyond which a drawing is a tangle.
const MOST_NODES: usize = 300;
const MOST_EDGES: usize = 2000;
/// Numbers of nodes and edges that are drawn of a tangle.
const SOME_NODES: usize = 150;
const SOME_EDGES: usize = 300;

pub struct GraphView<'a> {
    pub graph: &'a Graph,
    pub boxes: Vec<NodeBox>,
    pub edges: Vec<BoxEdge>,
    /// Site of each level, from below; a supernode of several sites stands between them.
    pub levels: Vec<Option<usize>>,
    /// Effect that the thickness of edges is relative to.
    pub largest: f64,
    /// Note on what is not drawn.
    pub left_out: Option<String>,
}

/// A box: a node, or a supernode.
#[derive(Clone)]
pub struct NodeBox {
    pub group: Option<usize>,
    /// The node, or the supernode's members.
    pub nodes: Vec<usize>,
    /// Number of the level, counted from below among the levels that there are.
    pub level: usize,
    pub position: Option<usize>,
    pub is_target: bool,
}

/// An edge between two boxes.
#[derive(Clone)]
pub struct BoxEdge {
    pub low: usize,
    pub high: usize,
    /// Whether the edge leads from the upper box to the lower one, as edges between supernodes may.
    pub is_down: bool,
    pub port: Option<Port>,
    /// The sum, where several edges are drawn as one.
    pub effect: f64,
    pub cosine: Option<f64>,
    /// The effect by the largest one, from -1 to 1.
    pub share: f64,
}

/// Height of a box from below: twice its level, for supernodes of several levels one more, and a place among these.
type Height = (usize, usize);

impl<'a> GraphView<'a> {
    pub fn of(graph: &'a Graph) -> Self {
        let (mut boxes, box_of) = boxes(graph);
        let mut merged = merged(graph, &boxes, &box_of);
        let all_boxes = boxes.len();
        let all_edges = merged.len();
        let mut left_out = None;
        if all_boxes > MOST_NODES || all_edges > MOST_EDGES {
            keep_strongest(graph, &mut boxes, &mut merged);
            let nodes = format!("{} of {}", boxes.len(), count(all_boxes, "node"));
            left_out = Some(match all_edges {
                0 => format!("Drawn: the strongest {nodes}."),
                all => {
                    let edges = format!("{} of {}", merged.len(), count(all, "edge"));
                    format!("Drawn: the strongest {edges} on the way to the targets, and {nodes}.")
                }
            });
        }
        let largest = match &graph.quantity {
            None => 1.0,
            Some(_) => merged.iter().map(|edge| edge.effect.abs()).fold(graph.largest(), f64::max),
        };
        let levels = stacked(graph, &mut boxes, &merged);
        for edge in &mut merged {
            edge.is_down = boxes[edge.low].level > boxes[edge.high].level;
            if edge.is_down {
                std::mem::swap(&mut edge.low, &mut edge.high);
            }
            let share = (edge.effect / largest).clamp(-1.0, 1.0);
            edge.share = if share.is_nan() { 0.0 } else { share };
        }
        Self { graph, boxes, edges: merged, levels, largest, left_out }
    }

    /// Returns whether nodes stand at positions of a text.
    pub fn is_by_position(&self) -> bool {
        self.boxes.iter().any(|shown| shown.position.is_some())
    }

    /// Returns the edges from the weakest to the strongest.
    pub fn by_strength(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.edges.len()).collect();
        order.sort_by(|a, b| self.edges[*a].share.abs().total_cmp(&self.edges[*b].share.abs()));
        order
    }
}

/// Returns a box for each node that is in no supernode, and one for each supernode where its first member would be; and
/// the box of each node.
fn boxes(graph: &Graph) -> (Vec<NodeBox>, Vec<usize>) {
    let group_of = node_names::groups(graph);
    let targets = node_names::targets(graph);
    let mut boxes = Vec::<NodeBox>::new();
    let mut of_group = BTreeMap::new();
    let mut box_of = Vec::with_capacity(graph.nodes.len());
    for (i, group) in group_of.into_iter().enumerate() {
        let at = *group.and_then(|group| of_group.get(&group)).unwrap_or(&boxes.len());
        if at == boxes.len() {
            let empty = NodeBox { group, nodes: Vec::new(), level: 0, position: None, is_target: false };
            boxes.push(empty);
            of_group.extend(group.map(|group| (group, at)));
        }
        boxes[at].nodes.push(i);
        boxes[at].is_target |= targets.contains(&i);
        box_of.push(at);
    }
    for shown in &mut boxes {
        let mut found: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        shown.nodes.iter().for_each(|node| *found.entry(graph.nodes[*node].position).or_default() += 1);
        // Of equally frequent positions the last, where a text's meaning comes together.
        shown.position = found.into_iter().max_by_key(|(position, times)| (*times, *position)).and_then(|(at, _)| at);
    }
    (boxes, box_of)
}

/// Returns the edges between boxes: those that end at one node keep their inputs apart, others are added up.
fn merged(graph: &Graph, boxes: &[NodeBox], box_of: &[usize]) -> Vec<BoxEdge> {
    let mut found: BTreeMap<(usize, usize, Option<Port>), usize> = BTreeMap::new();
    let mut merged: Vec<BoxEdge> = Vec::new();
    for edge in &graph.edges {
        let (Some(low), Some(high)) = (box_of.get(edge.from), box_of.get(edge.to)) else { continue };
        if low == high {
            continue;
        }
        let port = edge.port.filter(|_| boxes[*high].group.is_none());
        let at = *found.entry((*low, *high, port)).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(known) => (known.effect, known.cosine) = (known.effect + edge.effect, None),
            None => merged.push(BoxEdge {
                low: *low,
                high: *high,
                is_down: false,
                port,
                effect: edge.effect,
                cosine: edge.cosine,
                share: 0.0,
            }),
        }
    }
    merged
}

/// Leaves out all but the strongest part.
fn keep_strongest(graph: &Graph, boxes: &mut Vec<NodeBox>, merged: &mut Vec<BoxEdge>) {
    let ways: Vec<WeightedEdge> = merged.iter().map(|edge| (edge.low, edge.high, edge.effect)).collect();
    let targets: Vec<usize> = (0..boxes.len()).filter(|at| boxes[*at].is_target).collect();
    let own = |at: &usize| {
        boxes[*at].nodes.iter().filter_map(|node| graph.nodes[*node].effect).map(f64::abs).fold(0.0, f64::max)
    };
    let mut roots = node_names::roots(boxes.len(), &ways, &targets);
    roots[targets.len()..].sort_by(|a, b| own(b).total_cmp(&own(a)));
    let part = strongest_part::part(boxes.len(), &ways, &roots, (SOME_NODES, SOME_EDGES));
    let mut place = vec![0; boxes.len()];
    let mut kept = 0;
    for (at, is_kept) in part.nodes.iter().enumerate().filter(|(_, is_kept)| **is_kept) {
        place[at] = kept;
        kept += usize::from(*is_kept);
    }
    let mut at = part.nodes.iter();
    boxes.retain(|_| at.next().copied().unwrap_or_default());
    let mut at = part.edges.iter();
    merged.retain(|_| at.next().copied().unwrap_or_default());
    merged.iter_mut().for_each(|edge| (edge.low, edge.high) = (place[edge.low], place[edge.high]));
}

/// Gives each box its level, and each level its site. A supernode of several sites stands between them, and no two
/// that lead to each other beside each other.
fn stacked(graph: &Graph, boxes: &mut [NodeBox], merged: &[BoxEdge]) -> Vec<Option<usize>> {
    let level = |node: &usize| graph.nodes[*node].level;
    let spans = |shown: &NodeBox| shown.nodes.iter().any(|node| level(node) != level(&shown.nodes[0]));
    let mean = |shown: &NodeBox| shown.nodes.iter().map(level).sum::<usize>() / shown.nodes.len().max(1);
    let mut heights: Vec<Height> = boxes.iter().map(|shown| (2 * mean(shown), 0)).collect();
    let mut between: BTreeMap<Height, Vec<usize>> = BTreeMap::new();
    for at in (0..boxes.len()).filter(|at| spans(&boxes[*at])) {
        let mut height = (heights[at].0 + 1, 0);
        let joins = |other: &usize| {
            merged.iter().any(|edge| (edge.low, edge.high) == (at, *other) || (edge.low, edge.high) == (*other, at))
        };
        while between.get(&height).is_some_and(|others| others.iter().any(joins)) {
            height.1 += 1;
        }
        between.entry(height).or_default().push(at);
        heights[at] = height;
    }
    let mut levels: Vec<Height> = heights.clone();
    levels.sort_unstable();
    levels.dedup();
    for (shown, height) in boxes.iter_mut().zip(&heights) {
        shown.level = levels.binary_search(height).unwrap_or_default();
    }
    levels.iter().map(|(twice, _)| (twice % 2 == 0).then_some(twice / 2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Supernode;
    use crate::report::draw::graph::samples;

    #[test]
    fn the_edges_of_a_group_are_added_up_and_its_members_stand_in_one_box() {
        let mut graph = samples::graph(&[3, 2, 1]);
        let total: f64 = graph.edges.iter().filter(|edge| edge.to == 0).map(|edge| edge.effect).sum();
        graph.supernodes = vec![
            Supernode { name: "middle".into(), nodes: vec![1, 2] },
            Supernode { name: "late and again".into(), nodes: vec![2] },
        ];
        let view = GraphView::of(&graph);
        assert_eq!((view.boxes.len(), view.levels.len()), (5, 3));
        assert_eq!((view.boxes[1].group, view.boxes[1].nodes.as_slice()), (Some(0), &[1, 2][..]));
        let up: Vec<&BoxEdge> = view.edges.iter().filter(|edge| edge.high == 0).collect();
        assert!(up.len() == 1 && up[0].low == 1 && (up[0].effect - total).abs() < 1e-12 && up[0].cosine.is_none());
        assert!(view.left_out.is_none() && view.boxes[0].is_target);
    }

    #[test]
    fn groups_of_several_levels_stand_between_them_and_edges_may_run_down() {
        let mut graph = samples::graph(&[2, 2, 2, 1]);
        // Nodes 1 and 2 are of level 2, 3 and 4 of level 1, 5 and 6 of level 0.
        let all = graph.edges.len();
        graph.supernodes =
            vec![Supernode { name: "a".into(), nodes: vec![1, 5] }, Supernode { name: "b".into(), nodes: vec![2, 6] }];
        let view = GraphView::of(&graph);
        assert!(all > 4 && view.levels.contains(&None));
        assert!(view.edges.iter().all(|edge| view.boxes[edge.low].level < view.boxes[edge.high].level));
        assert!(view.edges.iter().any(|edge| edge.is_down));
    }

    #[test]
    fn of_what_would_be_a_tangle_the_strongest_part_is_left_and_said_to_be() {
        let graph = samples::graph(&[200, 101, 1]);
        let view = GraphView::of(&graph);
        assert!(view.boxes.len() <= SOME_NODES && view.edges.len() <= SOME_EDGES && view.boxes[0].is_target);
        let words = view.left_out.unwrap();
        let expected = format!("Drawn: the strongest {} of {} edges", view.edges.len(), graph.edges.len());
        assert!(words.starts_with(&expected) && words.ends_with("of 302 nodes."), "{words}");
        // Without edges it is the nodes that are strongest.
        let mut alone = Graph { edges: Vec::new(), ..graph.clone() };
        alone.nodes[250].effect = Some(-3.0);
        let view = GraphView::of(&alone);
        assert!(view.boxes.len() == SOME_NODES && view.boxes.iter().any(|shown| shown.nodes == [250]));
        assert_eq!(view.left_out.unwrap(), "Drawn: the strongest 150 of 302 nodes.");
    }

    #[test]
    fn what_is_no_number_is_drawn_thin() {
        let mut graph = samples::graph(&[2, 1]);
        graph.quantity = Some("change".into());
        (graph.edges[0].effect, graph.edges[1].effect) = (f64::NAN, f64::INFINITY);
        assert!(GraphView::of(&graph).edges.iter().all(|edge| edge.share == 0.0));
        graph.edges[1].effect = -4.0;
        let view = GraphView::of(&graph);
        assert_eq!((view.largest, view.edges[1].share), (4.0, -1.0));
    }
}
