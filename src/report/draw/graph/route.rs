//! Routes of the edges of a circuit: out of the top of a box, through the gaps of the rows above, into the bottom of
//! another box.

use std::collections::BTreeMap;

use super::curve;
use super::placement::{BoxRow, NodePlacement};
use super::view::{BoxEdge, GraphView};
use crate::circuit::Port;
use crate::report::clip::Rectangle;
use crate::report::draw::canvas::Point;

/// Space between edges that pass beside a row, and between the row and the first of them.
const LANE: f64 = 7.0;
/// Largest space between two edges that end at one box.
const PORT: f64 = 26.0;
/// Length of the detour that an edge takes to be spared a gap with another edge.
const CROWDED: f64 = 8.0;

/// Returns the curves of all edges, in their order, each from the lower box to the upper one.
pub fn curves(view: &GraphView, placed: &NodePlacement) -> Vec<Vec<Point>> {
    let passes = passes(view, placed);
    let leaving = ports(view, placed, &passes, true);
    let arriving = ports(view, placed, &passes, false);
    let curve = |(i, edge): (usize, &BoxEdge)| {
        let from = (leaving[i], placed.boxes[edge.low].top);
        let to = (arriving[i], placed.boxes[edge.high].bottom);
        if !placed.columns.is_empty() {
            return curve::aside(from, to, placed.boxes[edge.high].width());
        }
        let mut corners = vec![from];
        for (row, x) in &passes[i] {
            corners.extend([(*x, placed.rows[*row].bottom), (*x, placed.rows[*row].top)]);
        }
        corners.push(to);
        curve::smooth(&corners)
    };
    view.edges.iter().enumerate().map(curve).collect()
}

/// Returns the rows that each edge passes on its way up, and where it passes them.
fn passes(view: &GraphView, placed: &NodePlacement) -> Vec<Vec<(usize, f64)>> {
    let mut gaps: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    // Strong edges choose first.
    for i in view.by_strength().into_iter().rev() {
        let from = view.edges[i].low;
        let to = view.edges[i].high;
        for row in placed.row_of[to] + 1..placed.row_of[from] {
            let wanted = on_line(placed, (from, to), row);
            let crowd = |gap: usize| gaps.get(&(row, gap)).map_or(0, Vec::len);
            let gap = nearest_gap(placed, row, wanted, crowd);
            gaps.entry((row, gap)).or_default().push(i);
        }
    }
    let mut passes = vec![Vec::new(); view.edges.len()];
    for ((row, gap), mut edges) in gaps.into_iter().rev() {
        let place = |i: &usize| on_line(placed, (view.edges[*i].low, view.edges[*i].high), row);
        edges.sort_by(|a, b| place(a).total_cmp(&place(b)).then(a.cmp(b)));
        let wanted: Vec<f64> = edges.iter().map(place).collect();
        for (i, x) in edges.iter().zip(lanes(reach(placed, &placed.rows[row], gap), &wanted)) {
            passes[*i].push((row, x));
        }
    }
    passes
}

/// Returns the place at which the straight line between two nodes crosses a row.
fn on_line(placed: &NodePlacement, (from, to): (usize, usize), row: usize) -> f64 {
    let from = &placed.boxes[from];
    let to = &placed.boxes[to];
    let row = &placed.rows[row];
    let share = (from.top - (row.top + row.bottom) / 2.0) / (from.top - to.bottom).max(1.0);
    middle(from) + (middle(to) - middle(from)) * share
}

fn middle(frame: &Rectangle) -> f64 {
    (frame.left + frame.right) / 2.0
}

/// Returns the ends of a gap of a row: gap 0 lies left of all boxes, the last one right of them, as far as the drawing
/// goes.
fn reach(placed: &NodePlacement, row: &BoxRow, gap: usize) -> (f64, f64) {
    let left = gap.checked_sub(1).and_then(|before| row.nodes.get(before)).map(|node| placed.boxes[*node].right);
    let right = row.nodes.get(gap).map(|node| placed.boxes[*node].left);
    (left.unwrap_or(placed.left), right.unwrap_or(placed.width))
}

fn nearest_gap(placed: &NodePlacement, row: usize, wanted: f64, crowd: impl Fn(usize) -> usize) -> usize {
    let row = &placed.rows[row];
    let cost = |gap: &usize| {
        let (left, right) = reach(placed, row, *gap);
        // Wide gaps are as good as empty ones.
        let crowd = if right - left > 60.0 { 0.0 } else { crowd(*gap) as f64 * CROWDED };
        (left - wanted).max(wanted - right).max(0.0) + crowd
    };
    (0..=row.nodes.len()).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(0)
}

/// Returns the places at which edges pass a gap: beside each other, as near as can be to where they want to; evenly
/// where the gap is too narrow.
fn lanes((left, right): (f64, f64), wanted: &[f64]) -> Vec<f64> {
    let count = wanted.len() as f64;
    if right - left < LANE * (count + 1.0) {
        return (0..wanted.len()).map(|lane| left + (right - left) * (lane as f64 + 1.0) / (count + 1.0)).collect();
    }
    let mut before = f64::NEG_INFINITY;
    let place = |(lane, wanted): (usize, &f64)| {
        let lowest = left + LANE * (lane as f64 + 1.0);
        let highest = right - LANE * (count - lane as f64);
        before = wanted.max(before + LANE).max(lowest).min(highest);
        before
    };
    wanted.iter().enumerate().map(place).collect()
}

/// Returns the place at which each edge leaves its lower box, or arrives at its upper one: beside each other, in the
/// order in which they run, those of one input of a head together.
fn ports(view: &GraphView, placed: &NodePlacement, passes: &[Vec<(usize, f64)>], leaving: bool) -> Vec<f64> {
    let mut ends: BTreeMap<usize, Vec<(Option<Port>, f64, usize)>> = BTreeMap::new();
    for (i, edge) in view.edges.iter().enumerate() {
        let (end, other) = if leaving { (edge.low, edge.high) } else { (edge.high, edge.low) };
        let pass = if leaving { passes[i].first() } else { passes[i].last() };
        let toward = pass.map_or_else(|| middle(&placed.boxes[other]), |(_, x)| *x);
        ends.entry(end).or_default().push((edge.port.filter(|_| !leaving), toward, i));
    }
    let mut places = vec![0.0; view.edges.len()];
    for (node, mut edges) in ends {
        edges.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let frame = &placed.boxes[node];
        let step = PORT.min((frame.width() - 24.0) / (edges.len() as f64 - 1.0).max(1.0));
        for (at, (_, _, i)) in edges.iter().enumerate() {
            places[*i] = middle(frame) + (at as f64 - (edges.len() as f64 - 1.0) / 2.0) * step;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::graph::samples;

    #[test]
    fn edges_run_from_box_to_box_and_through_none() {
        for graph in samples::all() {
            let view = GraphView::of(&graph);
            let placed = NodePlacement::of(&view, &vec![50.0; view.boxes.len()], 80.0, 150.0);
            let curves = curves(&view, &placed);
            assert_eq!(curves.len(), view.edges.len());
            for (edge, curve) in view.edges.iter().zip(&curves) {
                let first = curve[0];
                let last = curve[curve.len() - 1];
                assert_eq!((first.1, last.1), (placed.boxes[edge.low].top, placed.boxes[edge.high].bottom));
                assert!(curve.windows(2).all(|pair| pair[0].1 >= pair[1].1), "edges rise");
                for (x, y) in curve {
                    let through = |frame: &&Rectangle| {
                        frame.left < *x && *x < frame.right && frame.top + 0.01 < *y && *y < frame.bottom - 0.01
                    };
                    assert!(
                        !placed.boxes.iter().any(|frame| through(&frame)),
                        "{} to {} at {x} {y}",
                        edge.low,
                        edge.high
                    );
                    assert!(*x > 0.0 && *x < placed.width);
                }
            }
        }
    }

    #[test]
    fn edges_of_one_box_end_beside_each_other_in_the_order_in_which_they_come() {
        let graph = samples::graph(&[5, 1]);
        let view = GraphView::of(&graph);
        let placed = NodePlacement::of(&view, &[50.0; 6], 0.0, 150.0);
        let mut ends: Vec<(f64, f64)> =
            curves(&view, &placed).iter().map(|curve| (curve[0].0, curve[curve.len() - 1].0)).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(ends.windows(2).all(|pair| pair[0].1 + 20.0 < pair[1].1), "{ends:?}");
    }

    #[test]
    fn edges_pass_where_they_want_to_if_there_is_room() {
        assert_eq!(lanes((0.0, 100.0), &[-5.0, 40.0, 41.0, 99.0]), [7.0, 40.0, 47.0, 93.0]);
        assert_eq!(lanes((0.0, f64::INFINITY), &[-9.0, 300.0]), [7.0, 300.0]);
        assert_eq!(lanes((f64::NEG_INFINITY, 0.0), &[-9.0, 30.0]), [-14.0, -7.0]);
        assert_eq!(lanes((0.0, 24.0), &[1.0, 2.0, 3.0]), [6.0, 12.0, 18.0]);
    }
}
