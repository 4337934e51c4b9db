//! Where the nodes of a circuit stand: rows by level, and within a row near what they are connected with.

use std::collections::BTreeMap;

use crate::circuit::Graph;
use crate::report::draw::canvas::Point;
use crate::report::draw::layout::PAD;

pub const BOX_WIDTH: f64 = 132.0;
/// Between two boxes of a row.
const GAP: f64 = 14.0;
/// Between two levels, where the edges run, and between two rows of one level.
const LEVEL_GAP: f64 = 58.0;
const ROW_GAP: f64 = 16.0;
/// So many boxes stand in a row; a level with more has several rows.
const IN_A_ROW: usize = 10;
/// How often rows are ordered anew, downwards and upwards in turn.
const SWEEPS: usize = 12;

/// Nodes in their places, from the upper left corner of where nodes are drawn.
pub struct Placed {
    pub centres: Vec<Point>,
    /// Each level that has nodes, and the middle of its rows.
    pub levels: Vec<(usize, f64)>,
    pub width: f64,
    pub height: f64,
}

impl Placed {
    /// `left` is where boxes may begin.
    pub fn of(graph: &Graph, heights: &[f64], left: f64) -> Self {
        let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            levels.entry(node.level).or_default().push(i);
        }
        let widest = levels.values().map(|nodes| nodes.len().min(IN_A_ROW)).max().unwrap_or(1);
        let inner = (widest as f64 * (BOX_WIDTH + GAP) - GAP).max(420.0);
        let mut x = vec![inner / 2.0; graph.nodes.len()];
        for nodes in levels.values() {
            spread(nodes, &mut x, inner);
        }
        for sweep in 0..SWEEPS {
            let order: Vec<&Vec<usize>> = match sweep % 2 {
                0 => levels.values().rev().collect(),
                _ => levels.values().collect(),
            };
            for nodes in order {
                pull(graph, nodes, sweep % 2 == 0, &mut x, inner);
            }
        }
        let (mut centres, mut y, mut middles) = (vec![(0.0, 0.0); graph.nodes.len()], 0.0, Vec::new());
        for (level, nodes) in levels.iter().rev() {
            let top = y;
            for row in rows(nodes, &x) {
                let high = row.iter().map(|node| heights[*node]).fold(0.0, f64::max);
                row.iter().for_each(|node| centres[*node] = (left + x[*node], y + high / 2.0));
                y += high + ROW_GAP;
            }
            y -= ROW_GAP;
            middles.push((*level, (top + y) / 2.0));
            y += LEVEL_GAP;
        }
        Self { centres, levels: middles, width: left + inner + PAD, height: (y - LEVEL_GAP).max(0.0) + 12.0 }
    }
}

/// The rows of a level: every second one, every third one and so on, so that edges reach both past each other.
fn rows(nodes: &[usize], x: &[f64]) -> Vec<Vec<usize>> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|a, b| x[*a].total_cmp(&x[*b]).then(a.cmp(b)));
    let count = nodes.len().div_ceil(IN_A_ROW).max(1);
    (0..count).map(|row| nodes.iter().copied().skip(row).step_by(count).collect()).collect()
}

/// How far apart the middles of neighbours stand; those of several rows overlap.
fn apart(count: usize) -> f64 {
    (BOX_WIDTH + GAP) / count.div_ceil(IN_A_ROW).max(1) as f64
}

fn spread(nodes: &[usize], x: &mut [f64], inner: f64) {
    let step = apart(nodes.len());
    let first = inner / 2.0 - step * (nodes.len() as f64 - 1.0) / 2.0;
    for (i, node) in nodes.iter().enumerate() {
        x[*node] = first + step * i as f64;
    }
}

/// Moves the nodes of a level as near as can be to what they lead to, or to what leads to them: each to the mean of
/// those, by the size of the effects, where boxes do not overlap.
fn pull(graph: &Graph, nodes: &[usize], to_later: bool, x: &mut [f64], inner: f64) {
    let wanted = |node: usize| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for edge in &graph.edges {
            let (near, far) = if to_later { (edge.from, edge.to) } else { (edge.to, edge.from) };
            if near == node {
                sum += edge.effect.abs() * x[far];
                weight += edge.effect.abs();
            }
        }
        if weight > 0.0 { sum / weight } else { x[node] }
    };
    let mut wanted: Vec<(f64, usize)> = nodes.iter().map(|node| (wanted(*node), *node)).collect();
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let step = apart(nodes.len());
    // With the steps taken off, places only have to rise: the nearest such places are means of runs.
    let flat: Vec<f64> = wanted.iter().enumerate().map(|(i, (place, _))| place - step * i as f64).collect();
    let room = inner - BOX_WIDTH / 2.0 - step * (nodes.len() as f64 - 1.0);
    for (i, (place, (_, node))) in rising(&flat).into_iter().zip(&wanted).enumerate() {
        let place = place.clamp((BOX_WIDTH / 2.0).min(room), room.max(BOX_WIDTH / 2.0));
        x[*node] = place + step * i as f64;
    }
}

/// The rising numbers that are nearest to these by the sum of squares: neighbours in the wrong order are pooled.
fn rising(numbers: &[f64]) -> Vec<f64> {
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for number in numbers {
        let mut run = (*number, 1);
        while let Some(before) = runs.last().copied().filter(|before| before.0 / before.1 as f64 > run.0 / run.1 as f64)
        {
            run = (run.0 + before.0, run.1 + before.1);
            runs.pop();
        }
        runs.push(run);
    }
    runs.into_iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / count as f64, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Edge, Node};

    fn graph(levels: &[usize]) -> Graph {
        let mut nodes = Vec::new();
        for (level, count) in levels.iter().enumerate().rev() {
            for feature in 0..*count {
                let site = format!("resid_post.{level}");
                nodes.push(Node { site, feature, level, meaning: None, score: None, outlier: false });
            }
        }
        let of = |level: usize| (0..nodes.len()).filter(move |i| nodes_level(levels, *i) == level).collect::<Vec<_>>();
        let mut edges = Vec::new();
        for (level, count) in levels.iter().enumerate().skip(1) {
            for (i, from) in of(level - 1).into_iter().enumerate() {
                let to = of(level)[i * 7 % count];
                edges.push(Edge { from, to, effect: 0.1 + i as f64 / 20.0, cosine: 0.0 });
            }
        }
        let sites = (0..levels.len()).map(|level| format!("resid_post.{level}")).collect();
        Graph { title: String::new(), model: String::new(), sites, nodes, edges, is_whole: true, made: Vec::new() }
    }

    fn nodes_level(levels: &[usize], index: usize) -> usize {
        let mut left = index;
        for (level, count) in levels.iter().enumerate().rev() {
            if left < *count {
                return level;
            }
            left -= count;
        }
        unreachable!()
    }

    #[test]
    fn no_two_boxes_overlap_and_all_are_inside() {
        for levels in [vec![1], vec![3, 1], vec![22, 17, 9, 8, 3, 1]] {
            let graph = graph(&levels);
            let heights = vec![60.0; graph.nodes.len()];
            let placed = Placed::of(&graph, &heights, 100.0);
            for (i, a) in placed.centres.iter().enumerate() {
                assert!(a.0 - BOX_WIDTH / 2.0 >= 99.9 && a.0 + BOX_WIDTH / 2.0 <= placed.width, "{levels:?} {a:?}");
                for b in &placed.centres[..i] {
                    assert!((a.0 - b.0).abs() >= BOX_WIDTH - 0.1 || (a.1 - b.1).abs() >= 60.0, "{a:?} {b:?}");
                }
            }
            // Later dictionaries are higher up.
            for edge in &graph.edges {
                assert!(placed.centres[edge.from].1 > placed.centres[edge.to].1);
            }
        }
    }

    #[test]
    fn rising_numbers_are_the_nearest_ones() {
        assert_eq!(rising(&[1.0, 3.0, 2.0, 5.0, 0.0]), [1.0, 2.5, 2.5, 2.5, 2.5]);
        assert_eq!(rising(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
