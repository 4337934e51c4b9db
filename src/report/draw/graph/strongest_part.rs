//! The strongest part of a graph that is too large to be shown whole: it grows from the targets along the strongest
//! edge that leads to what is there already, so that all of it leads somewhere.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The nodes and edges that are shown.
pub struct StrongestPart {
    pub nodes: Vec<bool>,
    pub edges: Vec<bool>,
}

/// An edge as growth sees it: from where to where, and how strong it is.
pub type WeightedEdge = (usize, usize, f64);

/// An edge at the border of what is shown.
struct BorderEdge {
    strength: f64,
    edge: usize,
}

/// Grows from `roots`, the first of which count most, to at most so many nodes and edges.
pub fn part(
    nodes: usize,
    ways: &[WeightedEdge],
    roots: &[usize],
    (most_nodes, most_edges): (usize, usize),
) -> StrongestPart {
    let mut into = vec![Vec::new(); nodes];
    for (edge, (_, to, _)) in ways.iter().enumerate() {
        into[*to].push(edge);
    }
    let mut part = StrongestPart { nodes: vec![false; nodes], edges: vec![false; ways.len()] };
    let mut open = BinaryHeap::new();
    let mut known = 0;
    let mut taken = 0;
    let reach = |node: usize, open: &mut BinaryHeap<BorderEdge>| {
        open.extend(into[node].iter().map(|edge| BorderEdge { strength: ways[*edge].2.abs(), edge: *edge }));
    };
    // Where there is nothing but roots, all room is theirs.
    let room = if ways.is_empty() { most_nodes } else { (most_nodes / 4).max(1) };
    for root in roots.iter().take(room) {
        part.nodes[*root] = true;
        known += 1;
        reach(*root, &mut open);
    }
    while let Some(BorderEdge { edge, .. }) = open.pop().filter(|_| taken < most_edges) {
        let from = ways[edge].0;
        if !part.nodes[from] {
            if known == most_nodes {
                continue;
            }
            part.nodes[from] = true;
            known += 1;
            reach(from, &mut open);
        }
        part.edges[edge] = true;
        taken += 1;
    }
    part
}

impl Ord for BorderEdge {
    /// Compares strengths, so that the strongest edge comes first, of equally strong ones the one that stands first,
    /// and NaN last.
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |strength: f64| if strength.is_nan() { -1.0 } else { strength };
        size(self.strength).total_cmp(&size(other.strength)).then(other.edge.cmp(&self.edge))
    }
}

impl PartialOrd for BorderEdge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BorderEdge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for BorderEdge {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_along_the_strongest_edges_and_never_beyond_its_room() {
        // 3 is the target; the strongest edge of all, 0 to 1, leads to it only through a weak one.
        let ways = [(0, 1, 9.0), (1, 3, 0.1), (2, 3, -0.5), (0, 2, f64::NAN), (0, 3, 0.3)];
        let shown = |nodes, edges| part(4, &ways, &[3], (nodes, edges)).edges;
        assert_eq!(shown(4, 5), [true; 5]);
        assert_eq!(shown(4, 1), [false, false, true, false, false]);
        assert_eq!(shown(4, 4), [true, true, true, false, true]);
        // The third node that is met is 0, and 1 finds no room.
        assert_eq!(shown(3, 5), [false, false, true, true, true]);
        assert_eq!(part(4, &[], &[3, 1, 0], (2, 5)).nodes, [false, true, false, true]);
    }
}
