//! Circuits of a text by position: a column for each token, a row for each level, the boxes of a cell stacked.

use std::collections::BTreeMap;

use super::placement::{BoxColumn, BoxLevel, NodePlacement};
use super::view::GraphView;
use crate::report::clip::Rectangle;

/// Space between two boxes of a cell, and between a box and the border of its column.
const STACK_GAP: f64 = 6.0;
const MARGIN: f64 = 7.0;
/// Space between two levels, where the edges run.
const LEVEL_GAP: f64 = 40.0;
/// Maximum number of boxes above each other; a cell with more has several stacks.
const HIGHEST: usize = 5;

/// Counts the columns of a drawing.
pub fn count(view: &GraphView) -> usize {
    let mut positions: Vec<Option<usize>> = (0..view.boxes.len()).map(|at| position(view, at)).collect();
    positions.sort_unstable();
    positions.dedup();
    positions.len()
}

/// Returns the position of a box. A target without one stands at the last position of all.
fn position(view: &GraphView, at: usize) -> Option<usize> {
    let shown = &view.boxes[at];
    let last = || view.boxes.iter().filter_map(|shown| shown.position).max().filter(|_| shown.is_target);
    shown.position.or_else(last)
}

/// Places all boxes, which are `wide`; those without a position stand in a column of their own at the right.
pub fn placed(view: &GraphView, heights: &[f64], left: f64, wide: f64) -> NodePlacement {
    let mut cells: BTreeMap<(bool, Option<usize>), BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for (at, shown) in view.boxes.iter().enumerate() {
        let position = position(view, at);
        let column = cells.entry((position.is_none(), position)).or_default();
        column.entry(shown.level).or_default().push(at);
    }
    let stacks = |boxes: &Vec<usize>| boxes.len().div_ceil(HIGHEST);
    let mut x = left;
    let mut columns = Vec::new();
    for ((_, position), levels) in &cells {
        let count = levels.values().map(stacks).max().unwrap_or(1) as f64;
        let right = x + count * wide + (count - 1.0) * STACK_GAP + 2.0 * MARGIN;
        columns.push(BoxColumn { position: *position, left: x, right });
        x = right;
    }
    let frame = Rectangle { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
    let mut placed = NodePlacement {
        boxes: vec![frame; view.boxes.len()],
        rows: Vec::new(),
        row_of: vec![0; view.boxes.len()],
        levels: Vec::new(),
        columns,
        left,
        width: x,
        height: 0.0,
    };
    for level in (0..view.levels.len()).rev() {
        placed.height += if placed.levels.is_empty() { 0.0 } else { LEVEL_GAP };
        let top = placed.height;
        let of_level: Vec<(usize, Vec<Vec<usize>>)> = cells
            .values()
            .enumerate()
            .filter_map(|(column, levels)| Some((column, stacked(levels.get(&level)?))))
            .collect();
        let high = |stack: &Vec<usize>| stack.iter().map(|at| heights[*at] + STACK_GAP).sum::<f64>() - STACK_GAP;
        let bottom = top + of_level.iter().flat_map(|(_, stacks)| stacks).map(high).fold(0.0, f64::max);
        for (column, stacks) in of_level {
            let middle = (placed.columns[column].left + placed.columns[column].right) / 2.0;
            let first = middle - (stacks.len() as f64 * (wide + STACK_GAP) - STACK_GAP) / 2.0;
            for (i, stack) in stacks.iter().enumerate() {
                let left = first + i as f64 * (wide + STACK_GAP);
                let mut y = (top + bottom - high(stack)) / 2.0;
                for at in stack {
                    placed.boxes[*at] = Rectangle { left, top: y, right: left + wide, bottom: y + heights[*at] };
                    y += heights[*at] + STACK_GAP;
                }
            }
        }
        placed.levels.push(BoxLevel { level, top, bottom });
        placed.height = bottom;
    }
    placed
}

/// Divides the boxes of a cell into stacks, from the left, each from the top.
fn stacked(boxes: &[usize]) -> Vec<Vec<usize>> {
    let count = boxes.len().div_ceil(HIGHEST).max(1);
    boxes.chunks(boxes.len().div_ceil(count).max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::graph::samples;

    #[test]
    fn columns_are_positions_and_rows_are_levels_and_no_two_boxes_overlap() {
        let graph = samples::attribution(12, 6);
        let view = GraphView::of(&graph);
        let heights: Vec<f64> = (0..view.boxes.len()).map(|at| 20.0 + (at % 3) as f64 * 10.0).collect();
        let placed = placed(&view, &heights, 60.0, 90.0);
        assert_eq!((placed.columns.len(), placed.levels.len()), (12, 8));
        for (at, a) in placed.boxes.iter().enumerate() {
            let shown = &view.boxes[at];
            let node = &graph.nodes[at];
            let column = placed.columns.iter().find(|column| column.left <= a.left && a.right <= column.right).unwrap();
            assert_eq!(column.position, node.position);
            let level = placed.levels.iter().find(|level| level.level == shown.level).unwrap();
            assert!(level.top <= a.top && a.bottom <= level.bottom + 1e-9);
            let apart = |b: &Rectangle| a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
            assert!(placed.boxes[..at].iter().all(apart), "{a:?}");
        }
        // Tokens are at the bottom, logits at the top on the right.
        let of = |site: &str| graph.nodes.iter().position(|node| node.site == site).unwrap();
        assert!(placed.boxes[of("embed")].bottom <= placed.height + 1e-9 && placed.boxes[of("logits")].top < 30.0);
        assert!(placed.boxes[of("logits")].left > placed.columns[11].left);
    }

    #[test]
    fn what_has_no_position_stands_apart_but_a_target_at_the_end() {
        let mut graph = samples::attribution(3, 2);
        let logit = graph.nodes.iter().position(|node| node.site == "logits").unwrap();
        graph.nodes[logit].position = None;
        assert_eq!(count(&GraphView::of(&graph)), 3);
        let feature = graph.nodes.iter().position(|node| node.feature().is_some()).unwrap();
        graph.nodes[feature].position = None;
        let view = GraphView::of(&graph);
        let placed = placed(&view, &vec![20.0; view.boxes.len()], 0.0, 90.0);
        assert_eq!(placed.columns.iter().map(|c| c.position).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), None]);
        assert!(
            placed.boxes[feature].left > placed.columns[3].left && placed.boxes[logit].right < placed.columns[2].right
        );
    }
}
