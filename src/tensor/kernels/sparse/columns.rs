//! Sparse rows turned by their columns.

use super::SparseRows;

/// One number of a column: its row, what stands there, and a second number of the same place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Place {
    pub row: u32,
    pub value: f32,
    pub slope: f32,
}

/// The same numbers by columns, in each by rows.
#[derive(Debug, Default, PartialEq)]
pub struct ByColumn {
    starts: Vec<usize>,
    places: Vec<Place>,
}

impl ByColumn {
    /// `slopes` has one number for each of the rows' values.
    pub fn of(rows: &SparseRows, slopes: &[f32], columns: usize) -> Self {
        let mut starts = vec![0; columns + 1];
        rows.columns.iter().for_each(|column| starts[*column as usize + 1] += 1);
        (0..columns).for_each(|column| starts[column + 1] += starts[column]);
        let (mut next, mut places) = (starts.clone(), vec![Place::default(); rows.columns.len()]);
        for row in 0..rows.rows() {
            for index in rows.range(row) {
                let place = &mut next[rows.columns[index] as usize];
                places[*place] = Place { row: row as u32, value: rows.values[index], slope: slopes[index] };
                *place += 1;
            }
        }
        Self { starts, places }
    }

    /// Of a column; empty where there is none.
    pub fn column(&self, column: usize) -> &[Place] {
        match self.starts.get(column..column + 2) {
            Some([begin, end]) => &self.places[*begin..*end],
            _ => &[],
        }
    }
}
