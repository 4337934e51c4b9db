//! Grids with more cells than can be shown: neighbours are averaged into one.

use crate::base::Grid;
use crate::base::results::{MISSING, is_missing};

/// Returns the grid in at most so many rows and columns, and a note if that took averaging. Cells without a finite
/// value do not count; where there is nothing but such cells the average is NaN, and missing where all of them are.
pub fn pooled(grid: &Grid, most_rows: usize, most_columns: usize) -> (Grid, Option<String>) {
    let down = grid.rows.len().div_ceil(most_rows.max(1)).max(1);
    let across = grid.columns.len().div_ceil(most_columns.max(1)).max(1);
    if down == 1 && across == 1 {
        return (grid.clone(), None);
    }
    let rows: Vec<String> = grid.rows.iter().step_by(down).cloned().collect();
    let columns: Vec<String> = grid.columns.iter().step_by(across).cloned().collect();
    let mut sums = vec![(0.0, 0_u32, true); rows.len() * columns.len()];
    for (row, values) in grid.values.chunks(grid.columns.len().max(1)).enumerate() {
        for (column, value) in values.iter().enumerate().filter(|(_, v)| !is_missing(**v)) {
            let (sum, count, is_none) = &mut sums[(row / down) * columns.len() + column / across];
            *is_none = false;
            if value.is_finite() {
                // Divided before adding, so that huge numbers do not overflow.
                *sum += value / (down * across) as f64;
                *count += 1;
            }
        }
    }
    let mean = |(sum, count, is_none): (f64, u32, bool)| {
        if is_none { MISSING } else { sum * (down * across) as f64 / f64::from(count) }
    };
    let values = sums.into_iter().map(mean).collect();
    let note = format!("Each cell drawn is the mean of {down} × {across} cells.");
    (Grid { rows, columns, values, intervals: Vec::new(), ..grid.clone() }, Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_averaged_and_nan_does_not_count() {
        let grid = Grid {
            rows: vec!["a".into(), "b".into(), "c".into()],
            columns: vec!["x".into(), "y".into()],
            values: vec![1.0, 2.0, 3.0, f64::NAN, MISSING, f64::NAN],
            ..Grid::default()
        };
        let (small, note) = pooled(&grid, 2, 1);
        assert_eq!((small.rows, small.columns), (vec!["a".to_string(), "c".to_string()], vec!["x".to_string()]));
        assert_eq!(small.values[0], 2.0);
        assert!(small.values[1].is_nan() && !is_missing(small.values[1]));
        assert_eq!(note.unwrap(), "Each cell drawn is the mean of 2 × 2 cells.");
        assert_eq!(pooled(&grid, 3, 2).1, None);
        let none = Grid { values: [vec![1.0; 4], vec![MISSING; 2]].concat(), ..grid };
        assert!(is_missing(pooled(&none, 2, 1).0.values[1]));
    }
}
