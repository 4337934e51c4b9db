//! Screening: a product of rows quantised to bytes finds the columns that can matter to a row. It takes a quarter of the time of
//! one in f32 by AVX-512, and 0.4 to 0.5 of it by AVX2. Only these candidates are then multiplied exactly.
//!
//! With x = s q and w = t p, each off by up to half a step, a product of rows is off by a sum of independent roundings,
//! whose variance is at most (s² |w|² + t² |x|²) / 12. A score less than `DEVIATIONS` standard deviations below the
//! floor is a candidate, so that one in hundreds of millions is missed. Where a few dimensions of x are far larger than
//! the others, they alone would set s: these are multiplied in f32, and q is of the others. Of a product of numbers rounded to
//! bf16, x and w are these.

mod avx2;
#[cfg(feature = "avx512")]
mod avx512;
mod candidates;
mod quantised;
mod tiles;

#[cfg(test)]
mod tests;

use std::ops::Range;

use candidates::Candidates;
use pulp::Arch;
use quantised::{ByteRange, Panels, Tiles};

use super::wanted::{Bf16Factors, KeepScores, Product, WantedScores};
use super::{AtLeast, dots_with_rows};
use crate::base::instructions::arch;

/// The margin for the rounding error of a product, in standard deviations.
const DEVIATIONS: f32 = 6.0;
/// Rows whose candidates are found before they are multiplied, so that they stay in the cache.
const BLOCK: usize = 42 * quantised::TILE;
/// Width of rows from which screening is faster.
const WORTH_INNER: usize = 64;
const WORTH_COLUMNS: usize = 512;
const WORTH_ROWS: usize = 48;
/// Width of rows up to which the sum of products of bytes fits an i32.
const MOST_INNER: usize = 1 << 15;
/// The share of candidates from which the full product is faster.
const MOST: f32 = 0.08;

/// The quantised weights of a product, and which scores are kept.
pub struct ScoreScreen<'a> {
    product: &'a Product<'a>,
    panels: Panels,
    /// k of the k largest scores of each row, if these are wanted.
    largest: Option<usize>,
    arch: Arch,
    look: Look,
}

/// The search of the candidates of all rows, in some instructions; false if there are too many.
type Look = fn(&Tiles, &Panels, &mut Candidates) -> bool;

/// Returns the search in the best instructions of those that may be used, and the bytes that it multiplies; None if the CPU
/// has none for it.
fn search(arch: Arch) -> Option<(Look, ByteRange)> {
    #[cfg(feature = "avx512")]
    if matches!(arch, Arch::V4(_)) && avx512::is_there() {
        return Some((tiles::look::<avx512::Avx512>, ByteRange::EIGHT_BITS));
    }
    let is_there = !matches!(arch, Arch::Scalar) && avx2::is_there();
    is_there.then_some((tiles::look::<avx2::Avx2>, ByteRange::SEVEN_BITS))
}

impl<'a> ScoreScreen<'a> {
    /// Quantises the weights of a product; None if the CPU lacks the instructions, if screening is not worth it, or if
    /// a number is not finite: then all scores are computed.
    pub fn of(product: &'a Product<'a>, wanted: WantedScores) -> Option<Self> {
        let arch = arch();
        let sizes = product.sizes;
        let is_worth = (WORTH_INNER..MOST_INNER).contains(&sizes.inner)
            && sizes.columns >= WORTH_COLUMNS
            && sizes.rows >= WORTH_ROWS;
        if !is_worth {
            return None;
        }
        let (look, range) = search(arch)?;
        let (floors, largest) = match wanted {
            WantedScores::Largest(k) if k as f32 > MOST / 2.0 * sizes.columns as f32 => return None,
            WantedScores::Largest(k) => (AtLeast::Positive, Some(k)),
            WantedScores::From(floors) => (floors, None),
        };
        let panels = Panels::of(arch, range, product, floors)?;
        Some(Self { product, panels, largest, arch, look })
    }

    /// Passes the scores of all candidates of these rows to `keep`, which counts rows from the first of them; false if there
    /// are too many to continue.
    pub fn look(&self, rows: Range<usize>, keep: &mut impl KeepScores) -> bool {
        let mut candidates = Candidates::new(self.largest, BLOCK);
        let mut tiles = Tiles::default();
        let mut buffer = Vec::new();
        for start in rows.clone().step_by(BLOCK) {
            let block = start..rows.end.min(start + BLOCK);
            let inner = self.product.sizes.inner;
            let x = match self.product.rounded {
                Some(Bf16Factors { x, .. }) => x.widened(block.clone(), &mut buffer),
                None => &self.product.x[block.start * inner..block.end * inner],
            };
            if !tiles.fill(self.arch, x, inner, &self.panels) {
                return false;
            }
            let most = MOST * (block.len() * self.product.sizes.columns) as f32;
            candidates.begin(&tiles, &self.panels, most as usize);
            if !(self.look)(&tiles, &self.panels, &mut candidates) {
                return false;
            }
            self.multiply(block, rows.start, &mut candidates, keep);
        }
        true
    }

    /// Passes the exact scores of the candidates of a block to `keep`, which counts rows from `first` on.
    fn multiply(&self, block: Range<usize>, first: usize, candidates: &mut Candidates, keep: &mut impl KeepScores) {
        let Product { x, weights, bias, sizes, rounded } = *self.product;
        let mut scores = Vec::new();
        for row in block.clone() {
            let columns = candidates.of(row - block.start);
            scores.resize(columns.len(), 0.0);
            match rounded {
                Some(Bf16Factors { x, weights }) => weights.dots(self.arch, x.row(row), columns, &mut scores),
                None => {
                    let x = &x[row * sizes.inner..(row + 1) * sizes.inner];
                    dots_with_rows(self.arch, &mut scores, x, weights, columns);
                }
            }
            scores.iter_mut().zip(columns).for_each(|(score, column)| *score += bias[*column as usize]);
            keep.see(row - first, columns, &scores);
        }
    }
}
