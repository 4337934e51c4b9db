//! The keys that a query attends to: those before it, within a window, and not padding; and how near ones are preferred.

use std::ops::Range;

use super::alibi::Alibi;

/// The padding of shorter rows of a batch: in row i the columns from `lengths[i]` to `width`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub lengths: Vec<usize>,
    pub width: usize,
}

impl Gap {
    /// Returns the position in its text of a column. Columns of padding have the number of the column.
    pub fn position(&self, row: usize, column: usize) -> usize {
        if column < self.width { column } else { column - self.width + self.lengths[row] }
    }

    pub fn holds(&self, row: usize, column: usize) -> bool {
        column < self.lengths[row] || column >= self.width
    }
}

/// The keys that queries attend to. Query column c of the tensors is column `past + c` of the text.
#[derive(Debug, Clone, Default)]
pub struct Reach<'a> {
    pub causal: bool,
    /// Number of positions of sliding-window attention, the query's own included; without a causal mask as many to the right
    /// as to the left.
    pub window: Option<usize>,
    pub past: usize,
    pub gap: Option<&'a Gap>,
    /// Biases of scores by the position of the key.
    pub alibi: Option<&'a Alibi>,
}

impl Reach<'_> {
    pub fn sees(&self, row: usize, query: usize, key: usize) -> bool {
        let (from, to) = match self.gap {
            Some(gap) if !gap.holds(row, key) => return false,
            Some(gap) => (gap.position(row, self.past + query), gap.position(row, key)),
            None => (self.past + query, key),
        };
        let is_near = |window| from < to + window && to < from + window;
        (!self.causal || to <= from) && self.window.is_none_or(is_near)
    }

    /// Returns the biases of a head's scores of a run of keys, if there are any.
    pub(crate) fn biases(&self, row: usize, head: usize, run: Range<usize>) -> Option<impl Iterator<Item = f32> + '_> {
        let alibi = self.alibi?;
        let position = move |key: usize| self.gap.map_or(key, |gap| gap.position(row, key));
        Some(run.map(move |key| alibi.bias(head, position(key))))
    }

    /// Returns the keys that a query attends to by [`Reach::sees`]: two ranges of them, the second after the first.
    pub(crate) fn seen(&self, row: usize, query: usize, keys: usize) -> [Range<usize>; 2] {
        let column = self.past + query;
        let from = self.gap.map_or(column, |gap| gap.position(row, column));
        let first = self.window.map_or(0, |window| (from + 1).saturating_sub(window));
        let end = match self.window {
            _ if self.causal => from + 1,
            Some(window) => from.saturating_add(window),
            None => usize::MAX,
        };
        let run = |begin: usize, end: usize| begin.min(end).min(keys)..end.min(keys);
        match self.gap {
            None => [run(first, end), keys..keys],
            Some(gap) => {
                let length = gap.lengths[row];
                // After the padding, positions continue where the text stopped.
                let behind = |position: usize| gap.width.saturating_add(position.saturating_sub(length));
                [run(first, end.min(length)), run(behind(first), behind(end))]
            }
        }
    }
}
