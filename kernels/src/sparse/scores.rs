//! A dense product that is filtered tile by tile while it is computed, and never stored.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::screen::ScoreScreen;
use super::wanted::{KeepScores, Product, ScoreSizes, WantedScores};
use crate::base::instructions::arch;
use crate::base::{parallel, simulated_threads};
use crate::linear::factor::{Factor, Onto, multiply};

/// A tile: its weights are packed once for all its rows, and its scores are still in the cache when they are filtered.
const TILE_ROWS: usize = 2048;
const TILE_COLUMNS: usize = 128;

impl Product<'_> {
    /// Splits the rows into equal parts, as many as there are threads or more.
    fn parts(&self) -> Vec<Range<usize>> {
        let ScoreSizes { rows, .. } = self.sizes;
        let parts = parallel::threads().max(rows.div_ceil(TILE_ROWS));
        let height = rows.div_ceil(parts).next_multiple_of(16);
        (0..rows).step_by(height.max(1)).map(|row| row..(row + height).min(rows)).collect()
    }

    /// Passes all wanted scores, and maybe others, to what `make` returns for each part of the rows, the parts in
    /// parallel; columns come in order.
    pub fn look<K: KeepScores>(&self, wanted: WantedScores, make: impl Fn(Range<usize>) -> K + Sync) -> Vec<K> {
        let arch = arch();
        let screen = ScoreScreen::of(self, wanted);
        let part = |rows: Range<usize>| {
            if let Some(screen) = &screen {
                let mut keep = make(rows.clone());
                if screen.look(rows.clone(), &mut keep) {
                    return keep;
                }
            }
            let mut keep = make(rows.clone());
            self.look_at_all(arch, rows, &mut keep);
            keep
        };
        let ScoreSizes { rows, columns, inner } = self.sizes;
        simulated_threads::touches(4 * inner * (rows + columns));
        parallel::of_each_short(self.parts(), &part)
    }

    fn look_at_all(&self, arch: Arch, rows: Range<usize>, keep: &mut impl KeepScores) {
        let mut scores = vec![0.0; rows.len() * TILE_COLUMNS.min(self.sizes.columns)];
        let rounded = self.rounded.map(|factors| (factors.x.grouped(arch, rows.clone()), factors.weights));
        for first in (0..self.sizes.columns).step_by(TILE_COLUMNS) {
            if keep.is_full() {
                break;
            }
            let columns = TILE_COLUMNS.min(self.sizes.columns - first);
            let scores = &mut scores[..rows.len() * columns];
            match &rounded {
                Some((x, weights)) => weights.products(arch, x, first..first + columns, scores),
                None => self.multiply(scores, rows.clone(), first, columns),
            }
            let bias = &self.bias[first..first + columns];
            arch.dispatch(Tile { scores, bias, first, keep });
        }
    }

    fn multiply(&self, scores: &mut [f32], rows: Range<usize>, first: usize, columns: usize) {
        let ScoreSizes { inner, .. } = self.sizes;
        let x = &self.x[rows.start * inner..rows.end * inner];
        let weights = &self.weights[first * inner..(first + columns) * inner];
        let x = Factor { numbers: x, row: inner as isize, column: 1 };
        let weights = Factor { numbers: weights, row: 1, column: inner as isize };
        let sizes = [rows.len(), columns, inner];
        // SAFETY: the slices hold whole rows of both, and the scores are ours and as large as the tile.
        unsafe { multiply(scores.as_mut_ptr(), columns, sizes, 1.0, x, weights, Onto::Nothing) };
    }
}

struct Tile<'a, K> {
    scores: &'a mut [f32],
    bias: &'a [f32],
    first: usize,
    keep: &'a mut K,
}

impl<K: KeepScores> WithSimd for Tile<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (row, scores) in self.scores.chunks_exact_mut(self.bias.len()).enumerate() {
            self.keep.look(simd, row, self.first, scores, self.bias);
        }
    }
}
