//! Places of the nodes of a circuit: rows by level, and within a row near what they are connected with.

use std::collections::BTreeMap;

use super::view::GraphView;
use crate::report::clip::Rectangle;

/// Space between two boxes of a row, where edges pass that come from further below.
const GAP: f64 = 24.0;
/// Space between two rows of one level.
const ROW_GAP: f64 = 34.0;
/// Space between two levels, where the edges run: this much, and more the more of them there are.
const LEVEL_GAP: f64 = 58.0;
const WIDEST_LEVEL_GAP: f64 = 124.0;
const FOR_AN_EDGE: f64 = 1.6;
/// Space beside the outermost boxes, where edges pass, too.
const SIDE: f64 = 26.0;
/// Width beyond which a level has several rows.
const WIDEST: f64 = 1220.0;
/// The narrowest that nodes are given, so that there is room for the legend.
const NARROWEST: f64 = 500.0;
/// Number of times that rows are ordered anew, downwards and upwards in turn.
const SWEEPS: usize = 16;

/// Boxes of one height beside each other.
pub struct BoxRow {
    /// The nodes from left to right.
    pub nodes: Vec<usize>,
    pub top: f64,
    pub bottom: f64,
}

/// All rows of one level.
pub struct BoxLevel {
    pub level: usize,
    pub top: f64,
    pub bottom: f64,
}

/// All nodes at one position of a text.
pub struct BoxColumn {
    pub position: Option<usize>,
    pub left: f64,
    pub right: f64,
}

/// Nodes in their places, from the upper left corner of where nodes are drawn.
pub struct NodePlacement {
    pub boxes: Vec<Rectangle>,
    /// The rows from the top, as levels are.
    pub rows: Vec<BoxRow>,
    /// The row of each node.
    pub row_of: Vec<usize>,
    pub levels: Vec<BoxLevel>,
    /// The columns where nodes are drawn by position; there are no rows then.
    pub columns: Vec<BoxColumn>,
    /// Left end of where edges may run.
    pub left: f64,
    pub width: f64,
    pub height: f64,
}

impl NodePlacement {
    /// Stacks boxes in rows by level. `heights` is what the text of each box takes, `left` where boxes of this width
    /// may begin.
    pub fn of(view: &GraphView, heights: &[f64], left: f64, wide: f64) -> Self {
        let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, shown) in view.boxes.iter().enumerate() {
            levels.entry(shown.level).or_default().push(i);
        }
        let boxes = Boxes { wide, in_a_row: ((WIDEST / (wide + GAP)) as usize).max(1) };
        let inner = levels.values().map(|nodes| boxes.width_of(nodes.len())).fold(NARROWEST, f64::max);
        let x = across(view, &levels, boxes, inner);
        let frame = Rectangle { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
        let mut placed = Self {
            boxes: vec![frame; view.boxes.len()],
            rows: Vec::new(),
            row_of: vec![0; view.boxes.len()],
            levels: Vec::new(),
            columns: Vec::new(),
            left,
            width: left + inner + 2.0 * SIDE,
            height: 0.0,
        };
        for (level, nodes) in levels.iter().rev() {
            if !placed.rows.is_empty() {
                placed.height += level_gap(view, *level);
            }
            let top = placed.height;
            placed.stack(boxes.rows(nodes, &x), &x, heights, (left + SIDE, wide));
            placed.levels.push(BoxLevel { level: *level, top, bottom: placed.height });
        }
        placed
    }

    /// Puts the rows of a level below those that are placed already.
    fn stack(&mut self, rows: Vec<Vec<usize>>, x: &[f64], heights: &[f64], (left, wide): (f64, f64)) {
        for (i, nodes) in rows.into_iter().enumerate() {
            let top = self.height + if i > 0 { ROW_GAP } else { 0.0 };
            let bottom = top + nodes.iter().map(|node| heights[*node]).fold(0.0, f64::max);
            for node in &nodes {
                let from = left + x[*node] - wide / 2.0;
                self.boxes[*node] = Rectangle { left: from, top, right: from + wide, bottom };
                self.row_of[*node] = self.rows.len();
            }
            self.rows.push(BoxRow { nodes, top, bottom });
            self.height = bottom;
        }
    }
}

/// Boxes of one width, with the number of them in a row.
#[derive(Clone, Copy)]
struct Boxes {
    wide: f64,
    in_a_row: usize,
}

impl Boxes {
    /// Returns the number of rows of a level with `count` boxes.
    fn rows_of(self, count: usize) -> usize {
        count.div_ceil(self.in_a_row).max(1)
    }

    /// Returns the distance between the middles of neighbours; those of several rows overlap.
    fn apart(self, count: usize) -> f64 {
        (self.wide + GAP) / self.rows_of(count) as f64
    }

    fn width_of(self, count: usize) -> f64 {
        self.apart(count) * (count as f64 - 1.0) + self.wide
    }

    /// Divides the nodes of a level into rows: of two rows each takes every second node, of three every third one, so
    /// that edges reach each row past the others.
    fn rows(self, nodes: &[usize], x: &[f64]) -> Vec<Vec<usize>> {
        let mut nodes = nodes.to_vec();
        nodes.sort_by(|a, b| x[*a].total_cmp(&x[*b]).then(a.cmp(b)));
        let count = self.rows_of(nodes.len());
        (0..count).map(|row| nodes.iter().copied().skip(row).step_by(count).collect()).collect()
    }

    fn spread(self, nodes: &[usize], x: &mut [f64], inner: f64) {
        let step = self.apart(nodes.len());
        let first = inner / 2.0 - step * (nodes.len() as f64 - 1.0) / 2.0;
        for (i, node) in nodes.iter().enumerate() {
            x[*node] = first + step * i as f64;
        }
    }

    /// Moves the nodes of a level as near as can be to what they are connected with: each to the mean of those, by the
    /// size of the effects, where boxes do not overlap.
    fn pull(self, nodes: &[usize], near: &[Vec<(usize, f64)>], x: &mut [f64], inner: f64) {
        let wanted = |node: usize| {
            let sum = |(sum, all), (far, by): &(usize, f64)| (sum + by * x[*far], all + by);
            let (sum, weight): (f64, f64) = near[node].iter().fold((0.0, 0.0), sum);
            if weight > 0.0 { sum / weight } else { x[node] }
        };
        let mut wanted: Vec<(f64, usize)> = nodes.iter().map(|node| (wanted(*node), *node)).collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let step = self.apart(nodes.len());
        // With the steps taken off, places only have to rise: the nearest such places are means of runs.
        let flat: Vec<f64> = wanted.iter().enumerate().map(|(i, (place, _))| place - step * i as f64).collect();
        let first = self.wide / 2.0;
        let last = inner - first - step * (nodes.len() as f64 - 1.0);
        for (i, (place, (_, node))) in rising(&flat).into_iter().zip(&wanted).enumerate() {
            x[*node] = place.clamp(first.min(last), last.max(first)) + step * i as f64;
        }
    }
}

/// Returns the space above a level: edges that leave it need more the more they are.
fn level_gap(view: &GraphView, level: usize) -> f64 {
    let leaving = view.edges.iter().filter(|edge| view.boxes[edge.low].level == level).count();
    (LEVEL_GAP + FOR_AN_EDGE * leaving as f64).min(WIDEST_LEVEL_GAP)
}

/// Returns the middles of all boxes, from left to right: rows are pulled to each other, downwards and upwards in turn,
/// and the places with the fewest crossings are taken (Sugiyama, Tagawa and Toda 1981).
fn across(view: &GraphView, levels: &BTreeMap<usize, Vec<usize>>, boxes: Boxes, inner: f64) -> Vec<f64> {
    let near = Neighbours::of(view);
    let mut x = vec![inner / 2.0; view.boxes.len()];
    for nodes in levels.values() {
        boxes.spread(nodes, &mut x, inner);
    }
    let mut best = x.clone();
    let mut fewest = f64::INFINITY;
    for _ in 0..SWEEPS {
        for nodes in levels.values().rev() {
            boxes.pull(nodes, &near.later, &mut x, inner);
        }
        for nodes in levels.values() {
            boxes.pull(nodes, &near.earlier, &mut x, inner);
        }
        let tangled = tangle(view, &x);
        if tangled < fewest {
            (best, fewest) = (x.clone(), tangled);
        }
    }
    // What all levels leave free is left free on both sides.
    let (low, high) = best.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    best.iter_mut().for_each(|x| *x += (inner - low - high) / 2.0);
    best
}

/// Neighbours of each node, with the strengths of the edges between them.
struct Neighbours {
    earlier: Vec<Vec<(usize, f64)>>,
    later: Vec<Vec<(usize, f64)>>,
}

impl Neighbours {
    fn of(view: &GraphView) -> Self {
        let empty = vec![Vec::new(); view.boxes.len()];
        let mut near = Self { earlier: empty.clone(), later: empty };
        for edge in &view.edges {
            // Weak edges count, too, or a few strong ones would tear the rest apart.
            let weight = 0.15 + edge.share.abs();
            near.earlier[edge.high].push((edge.low, weight));
            near.later[edge.low].push((edge.high, weight));
        }
        near
    }
}

/// Counts the pairs of edges between the same two levels that cross, and adds a little for the length of each edge.
fn tangle(view: &GraphView, x: &[f64]) -> f64 {
    let mut between: BTreeMap<(usize, usize), Vec<(f64, f64)>> = BTreeMap::new();
    let mut length = 0.0;
    for edge in &view.edges {
        let levels = (view.boxes[edge.low].level, view.boxes[edge.high].level);
        between.entry(levels).or_default().push((x[edge.low], x[edge.high]));
        length += (x[edge.low] - x[edge.high]).abs();
    }
    let crossings = |edges: &Vec<(f64, f64)>| {
        let cross = |a: &(f64, f64), b: &(f64, f64)| (a.0 - b.0) * (a.1 - b.1) < 0.0;
        edges.iter().enumerate().map(|(i, a)| edges[..i].iter().filter(|b| cross(a, b)).count()).sum::<usize>()
    };
    between.values().map(crossings).sum::<usize>() as f64 + length / 400.0
}

/// Returns the rising numbers that are nearest to these by the sum of squares: neighbours in the wrong order are
/// pooled.
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
    use crate::report::draw::graph::samples;

    #[test]
    fn no_two_boxes_overlap_and_all_are_inside() {
        for graph in samples::all() {
            let view = GraphView::of(&graph);
            let heights: Vec<f64> = (0..view.boxes.len()).map(|node| 40.0 + (node % 4) as f64 * 10.0).collect();
            let placed = NodePlacement::of(&view, &heights, 80.0, 150.0);
            for (i, a) in placed.boxes.iter().enumerate() {
                assert!(a.left >= 80.0 + SIDE - 0.1 && a.right <= placed.width - SIDE + 0.1, "{a:?}");
                assert!(a.top >= 0.0 && a.bottom <= placed.height && a.height() >= heights[i] - 1e-9);
                for b in &placed.boxes[..i] {
                    let beside = a.right + GAP <= b.left + 0.1 || b.right + GAP <= a.left + 0.1;
                    assert!(beside || a.bottom + ROW_GAP <= b.top || b.bottom + ROW_GAP <= a.top, "{a:?} {b:?}");
                }
            }
            // Later dictionaries are higher up.
            for edge in &view.edges {
                assert!(placed.boxes[edge.low].top >= placed.boxes[edge.high].bottom + LEVEL_GAP);
            }
        }
    }

    #[test]
    fn crossings_that_need_not_be_are_undone() {
        // Three to three, in the opposite order.
        let mut graph = samples::graph(&[3, 3]);
        graph.edges.truncate(3);
        for (i, edge) in graph.edges.iter_mut().enumerate() {
            (edge.from, edge.to, edge.effect) = (3 + i, 2 - i, 0.5);
        }
        let placed = NodePlacement::of(&GraphView::of(&graph), &[40.0; 6], 0.0, 150.0);
        for edge in &graph.edges {
            assert!((placed.boxes[edge.from].left - placed.boxes[edge.to].left).abs() < 1.0);
        }
    }

    #[test]
    fn rising_numbers_are_the_nearest_ones() {
        assert_eq!(rising(&[1.0, 3.0, 2.0, 5.0, 0.0]), [1.0, 2.5, 2.5, 2.5, 2.5]);
        assert_eq!(rising(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
