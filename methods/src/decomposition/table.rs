//! Tables of parts: how often each matters, how large it is, and what it reads and writes.

use super::parts::MatrixParts;
use super::result::Decomposition;
use crate::common::*;

/// The columns of a table of parts.
pub const COLUMNS: [&str; 9] =
    ["matrix", "part", "active", "importance", "norm", "reads", "share read", "writes", "share written"];

/// The use of a part on some inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartUse {
    pub part: usize,
    /// The share of inputs on which its importance is above the threshold.
    pub active: f64,
    /// The mean importance.
    pub importance: f64,
}

/// Computes how often each part matters, from importances `[inputs, parts]`.
pub fn uses(importance: &Tensor, threshold: f64) -> Result<Vec<PartUse>> {
    let active = floats(&importance.gt(threshold)?.to_dtype(importance.dtype())?.mean(0)?)?;
    let means = floats(&importance.mean(0)?)?;
    let one = |(part, (active, importance)): (usize, (f64, f64))| PartUse { part, active, importance };
    Ok(active.into_iter().zip(means).enumerate().map(one).collect())
}

/// The largest number of a direction: its place, and the share of its square in the squared norm.
#[derive(Debug, Clone, Copy)]
struct LargestNumber {
    place: usize,
    share: f64,
}

/// Finds the largest number of each row of a matrix by its absolute value.
fn largest(rows: &Tensor) -> Result<Vec<LargestNumber>> {
    let one = |row: &Vec<f32>| {
        let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
        let largest = row.iter().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
        let (place, number) = largest.map_or((0, 0.0), |(place, number)| (place, f64::from(*number)));
        LargestNumber { place, share: number * number / squares.max(f64::MIN_POSITIVE) }
    };
    Ok(rows.contiguous()?.to_vec2::<f32>()?.iter().map(one).collect())
}

impl Decomposition {
    /// Lists the parts of all matrices that matter on any of the inputs, those of each matrix by their mean importance.
    pub fn table(&self, importances: &[Tensor], threshold: f64) -> Result<Table> {
        let mut rows = Vec::new();
        for (parts, importance) in self.parts.iter().zip(importances) {
            rows.extend(of_matrix(parts, &uses(importance, threshold)?)?.rows);
        }
        Ok(Table::new(format!("parts with an importance above {threshold}"), COLUMNS, rows))
    }
}

/// Lists the parts of one matrix that are used, by their mean importance.
fn of_matrix(parts: &MatrixParts, uses: &[PartUse]) -> Result<Table> {
    let norms = floats(&parts.norms()?)?;
    let read = largest(&parts.v.t()?)?;
    let written = largest(&parts.u)?;
    let mut used: Vec<&PartUse> = uses.iter().filter(|part| part.active > 0.0).collect();
    order::sort_descending(&mut used, |part| part.importance);
    let row = |found: &&PartUse| {
        let part = found.part;
        vec![
            parts.name.as_str().into(),
            part.into(),
            found.active.into(),
            found.importance.into(),
            norms[part].into(),
            read[part].place.into(),
            read[part].share.into(),
            written[part].place.into(),
            written[part].share.into(),
        ]
    };
    Ok(Table { rows: used.iter().map(row).collect(), ..Table::default() })
}
