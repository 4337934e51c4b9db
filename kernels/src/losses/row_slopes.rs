//! Gradients of rows, summed up block by block of words, so that no logits are kept or computed again for them.

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::linear::factor::{Factor, Onto};
use crate::linear::in_tiles;
use crate::numbers::elementwise::{Times, map};
use crate::numbers::{FlatNumbers, Fresh, flat};
use crate::tape::ArgumentGradients;

/// Sums over the words so far, `[rows, inner]`: of the slopes of their logits times the rows of the unembedding.
pub(super) struct RowSlopes {
    inner: usize,
    sums: Fresh,
}

impl RowSlopes {
    pub fn new(rows: usize, inner: usize) -> Self {
        Self { inner, sums: Fresh::from(vec![0.0; rows * inner]) }
    }

    /// Returns the number of numbers of a row.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Lends the sums of some rows.
    pub fn rows(&mut self, rows: &Range<usize>) -> &mut [f32] {
        // SAFETY: these rows, all of which are written; they are borrowed as long as this is.
        unsafe { self.sums.pointer().part(rows.start * self.inner, rows.len() * self.inner) }
    }

    /// Adds the slopes of some rows, `[rows, words]`, times the weights of these words, `[words, inner]`.
    pub fn add(&mut self, rows: &Range<usize>, slopes: &[f32], weights: &[f32]) {
        let words = weights.len() / self.inner;
        let place = self.sums.pointer().moved(rows.start * self.inner);
        let slopes = Factor { numbers: slopes, row: words as isize, column: 1 };
        let weights = Factor { numbers: weights, row: self.inner as isize, column: 1 };
        // SAFETY: these rows of the sums, all of which are written and to which nothing else refers.
        unsafe { in_tiles(place, [rows.len(), self.inner, words], slopes, weights, Onto::WhatIsThere) };
    }

    pub fn numbers(self) -> Vec<f32> {
        self.sums.numbers()
    }
}

/// Computes the gradient of rows of these dims from the slopes of each row's result, and from the gradients of the results.
pub(super) fn times_gradients(slopes: &[f32], dims: &[usize], gradient: &Tensor) -> Result<ArgumentGradients> {
    let arch = arch();
    let inner = dims.last().copied().unwrap_or(1);
    let gradient = flat(gradient)?;
    let gradients = FlatNumbers::of(&gradient)?;
    let gradients = gradients.slice();
    let mut result = Fresh::new(slopes.len())?;
    result.write(inner, inner, |first, result| {
        for (at, result) in result.chunks_exact_mut(inner).enumerate() {
            let row = first + at;
            match gradients[row] {
                // A row that nobody asked for may have slopes that are no numbers.
                0.0 => result.fill(0.0),
                gradient => map(arch, result, &slopes[row * inner..(row + 1) * inner], Times(gradient)),
            }
        }
    });
    Ok(vec![Some(result.tensor(dims, DType::F32)?)])
}
