//! The scores of a product that are kept, as sparse rows.

use super::collectors::{AboveFloor, LargestOfAll, LargestOfRows};
use super::wanted::{Bf16Factors, WantedScores};
use super::{AtLeast, Product, ScoreSizes, SparseRows};
use crate::base::error::Result;
use crate::base::{memory, parallel};
use crate::linear::rounded::Bf16Rows;

/// Number of rows of which one is sampled to estimate the floor of the largest scores.
const ONE_OF: usize = 16;
/// The number of sampled rows that is enough for the estimate.
const ENOUGH: usize = 64;
/// Factor of the sample's share of the largest scores, so that the floor is seldom too high.
const SLACK: f64 = 1.25;

impl Product<'_> {
    /// Finds the k largest scores of each row, those above 0; of equal ones the first columns. k is from 1 to the
    /// number of columns.
    pub fn largest_of_rows(&self, k: usize) -> Result<SparseRows> {
        let ScoreSizes { rows, columns, .. } = self.sizes;
        memory::check(LargestOfRows::size(k, rows, columns), || format!("the {k} largest codes of {rows} rows"))?;
        let parts = self.look(WantedScores::Largest(k), |rows| LargestOfRows::new(k, rows.len(), columns));
        Ok(SparseRows::joined(parallel::of_each_short(parts, &LargestOfRows::finish)))
    }

    /// Finds the largest scores of all rows together, those above 0; of equal ones the first in the order of rows. The
    /// count is not 0, and there are fewer than 2^32 scores.
    pub fn largest_of_all(&self, count: usize) -> Result<SparseRows> {
        let rows = self.sizes.rows;
        memory::check(32 * count as u128, || format!("the {count} largest codes of {rows} rows"))?;
        if let Some(floor) = self.likely_floor(count) {
            let found = self.largest_from(count, Some(floor));
            if found.values.len() == count {
                return Ok(found);
            }
        }
        Ok(self.largest_from(count, None))
    }

    fn largest_from(&self, count: usize, floor: Option<f32>) -> SparseRows {
        let ScoreSizes { rows, columns, .. } = self.sizes;
        let wanted = WantedScores::From(floor.map_or(AtLeast::Positive, AtLeast::Number));
        LargestOfAll::finish(self.look(wanted, |part| LargestOfAll::new(count, columns, part, floor)), rows)
    }

    /// Estimates from a few of the rows a floor that more than enough scores reach.
    fn likely_floor(&self, count: usize) -> Option<f32> {
        let ScoreSizes { rows, inner, .. } = self.sizes;
        let some = rows / ONE_OF;
        let share = (SLACK * count as f64 * some as f64 / rows as f64).ceil() as usize;
        if some < ENOUGH {
            return None;
        }
        let x: Vec<f32> = self.x.chunks_exact(inner * ONE_OF).flat_map(|rows| &rows[..inner]).copied().collect();
        let sizes = ScoreSizes { rows: some, ..self.sizes };
        let rounded_x = self.rounded.map(|_| Bf16Rows::of(&x, inner));
        let factors = rounded_x.as_ref().zip(self.rounded);
        let rounded = factors.map(|(x, Bf16Factors { weights, .. })| Bf16Factors { x, weights });
        let found = Product { x: &x, sizes, rounded, ..*self }.largest_from(share, None);
        // With fewer scores above 0 there is no estimate.
        (found.values.len() == share).then(|| found.values.iter().copied().fold(f32::INFINITY, f32::min))
    }

    /// Finds all scores at or above a floor; None if they are more than a share of all.
    pub fn few(&self, floor: AtLeast, most: f64) -> Option<SparseRows> {
        let limit = |rows: usize| (most * rows as f64 * self.sizes.columns as f64) as usize;
        let parts = self.look(WantedScores::From(floor), |rows| AboveFloor::new(floor, limit(rows.len()), rows.len()));
        let found = parallel::of_each_short(parts, &AboveFloor::finish);
        Some(SparseRows::joined(found.into_iter().collect::<Option<_>>()?))
    }
}
