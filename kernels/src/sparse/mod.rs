//! Products with a sparse factor: which scores of a dense product are kept, sums of the rows that they select, and
//! gradients with only some rows.

mod adam;
mod choose;
mod collectors;
mod columns;
mod combine;
mod scores;
#[cfg(target_arch = "x86_64")]
mod screen;
#[cfg(not(target_arch = "x86_64"))]
#[path = "screen/none.rs"]
mod screen;
mod sums;
#[cfg(test)]
mod tests;
mod wanted;

pub use adam::{RowGradients, adam_rows};
pub use columns::{ByColumn, ColumnEntry};
pub use combine::{add_rows, dots_with_rows, scale};
pub use sums::{add, add_columns, dot, spread, squares};
pub use wanted::{AtLeast, Bf16Factors, Product, ScoreSizes};

/// Sparse rows: those of row i are `starts[i]..starts[i + 1]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseRows {
    pub starts: Vec<usize>,
    pub columns: Vec<u32>,
    pub values: Vec<f32>,
}

impl SparseRows {
    /// Builds the rows from entries `(row, column, number)`, ordered by row; within a row their order is kept.
    pub fn of(rows: usize, places: impl Iterator<Item = (u32, u32, f32)> + Clone) -> Self {
        let mut starts = vec![0; rows + 1];
        let mut count = 0;
        for (row, ..) in places.clone() {
            starts[row as usize + 1] += 1;
            count += 1;
        }
        (0..rows).for_each(|row| starts[row + 1] += starts[row]);
        let mut columns = vec![0; count];
        let mut values = vec![0.0; count];
        let mut next = starts.clone();
        for (row, column, value) in places {
            let place = &mut next[row as usize];
            (columns[*place], values[*place]) = (column, value);
            *place += 1;
        }
        Self { starts, columns, values }
    }

    /// Returns the rows of all parts, concatenated.
    pub fn joined(parts: Vec<Self>) -> Self {
        let mut all = Self { starts: vec![0], ..Self::default() };
        for part in parts {
            let before = all.columns.len();
            all.starts.extend(part.starts.iter().skip(1).map(|start| before + start));
            all.columns.extend(part.columns);
            all.values.extend(part.values);
        }
        all
    }

    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Returns the range of a row's entries.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }
}
