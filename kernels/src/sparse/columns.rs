//! Sparse rows by column (transposed).

use std::ops::Range;

use super::SparseRows;
use crate::base::parallel;

/// One entry of a column: its row, its value, and a second value of the same entry.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ColumnEntry {
    pub row: u32,
    pub value: f32,
    pub slope: f32,
}

/// Sparse rows stored by columns, the entries of each in the order of rows.
#[derive(Debug, Default, PartialEq)]
pub struct ByColumn {
    /// Number of columns of each part but the last.
    width: usize,
    parts: Vec<ColumnBlock>,
}

/// Some columns, concatenated.
#[derive(Debug, Default, PartialEq)]
struct ColumnBlock {
    starts: Vec<usize>,
    places: Vec<ColumnEntry>,
}

impl ByColumn {
    /// Transposes sparse rows; `slopes` has one number for each of their values.
    pub fn of(rows: &SparseRows, slopes: &[f32], columns: usize) -> Self {
        let width = columns.div_ceil(parallel::threads()).max(1);
        let starts: Vec<usize> = (0..columns).step_by(width).collect();
        // Each thread reads all numbers and takes those of its columns.
        let part = |start: usize| ColumnBlock::of(rows, slopes, start..(start + width).min(columns));
        Self { width, parts: parallel::of_each_short(starts, &part) }
    }

    /// Returns the entries of a column, which may be empty.
    pub fn column(&self, column: usize) -> &[ColumnEntry] {
        let Some(part) = column.checked_div(self.width).and_then(|part| self.parts.get(part)) else { return &[] };
        let at = column % self.width;
        match part.starts.get(at..at + 2) {
            Some([begin, end]) => &part.places[*begin..*end],
            _ => &[],
        }
    }
}

impl ColumnBlock {
    fn of(rows: &SparseRows, slopes: &[f32], columns: Range<usize>) -> Self {
        let mine = |column: &u32| (*column as usize).checked_sub(columns.start).filter(|at| *at < columns.len());
        let mut starts = vec![0; columns.len() + 1];
        rows.columns.iter().filter_map(mine).for_each(|at| starts[at + 1] += 1);
        (0..columns.len()).for_each(|at| starts[at + 1] += starts[at]);
        let mut next = starts.clone();
        let mut places = vec![ColumnEntry::default(); starts[columns.len()]];
        for row in 0..rows.rows() {
            for index in rows.range(row) {
                let Some(at) = mine(&rows.columns[index]) else { continue };
                places[next[at]] = ColumnEntry { row: row as u32, value: rows.values[index], slope: slopes[index] };
                next[at] += 1;
            }
        }
        Self { starts, places }
    }
}
