//! The gradients of linear maps: dx = dy W, dW = dy^T x, db = the sum of the rows of dy.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::numbers::{Fresh, Numbers, Place, flat};
use super::product::{Factor, Onto, multiply};
use super::record::Gradients;
use crate::base::Result;

/// The smallest side of a tile that is worth a thread.
const TILE: usize = 32;

/// A map with what it was applied to.
pub(super) struct Linear {
    x: Tensor,
    weight: Tensor,
    /// Which of x, weight and bias have gradients; the last only where there is a bias.
    asked: Vec<bool>,
}

impl Linear {
    pub fn of(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let asked = [x, weight].into_iter().chain(bias).map(Tensor::track_op).collect();
        Ok(Self { x: flat(x)?, weight: flat(weight)?, asked })
    }

    /// The gradients of x, weight and bias, given that of the result.
    pub fn gradients(&self, gradient: &Tensor) -> Result<Gradients> {
        let (out, inner) = self.weight.dims2()?;
        let gradient = flat(gradient)?;
        let (numbers, x, weight) = (Numbers::of(&gradient)?, Numbers::of(&self.x)?, Numbers::of(&self.weight)?);
        let sizes = [numbers.slice().len() / out.max(1), inner, out];
        let parts = self.asked.iter().enumerate().map(|(part, asked)| {
            let make = || match part {
                0 => of_x(numbers.slice(), weight.slice(), sizes)?.tensor(self.x.dims(), DType::F32),
                1 => of_weight(numbers.slice(), x.slice(), sizes)?.tensor(self.weight.dims(), DType::F32),
                _ => column_sums(numbers.slice(), out)?.tensor(&[out], DType::F32),
            };
            asked.then(make).transpose()
        });
        parts.collect()
    }
}

/// dy W for dy `[rows, out]` and W `[out, in]`.
fn of_x(gradient: &[f32], weight: &[f32], [rows, inner, out]: [usize; 3]) -> Result<Fresh> {
    let gradient = Factor { numbers: gradient, row: out as isize, column: 1 };
    let weight = Factor { numbers: weight, row: inner as isize, column: 1 };
    let mut result = Fresh::new(rows * inner)?;
    // SAFETY: the result has as many numbers, and nobody else knows it.
    unsafe { in_tiles(result.pointer(), [rows, inner, out], gradient, weight, Onto::Nothing) };
    Ok(result)
}

/// dy^T x for dy `[rows, out]` and x `[rows, in]`.
fn of_weight(gradient: &[f32], x: &[f32], [rows, inner, out]: [usize; 3]) -> Result<Fresh> {
    let gradient = Factor { numbers: gradient, row: 1, column: out as isize };
    let x = Factor { numbers: x, row: inner as isize, column: 1 };
    let mut result = Fresh::new(out * inner)?;
    // SAFETY: the result has as many numbers, and nobody else knows it.
    unsafe { in_tiles(result.pointer(), [out, inner, rows], gradient, x, Onto::Nothing) };
    Ok(result)
}

/// a b for a `[m, k]` and b `[k, n]`, in tiles that threads share out.
///
/// # Safety
/// The target is m rows of n numbers that nobody else uses, initialised where the product is added to them.
pub(super) unsafe fn in_tiles(target: Place, [m, n, k]: [usize; 3], a: Factor, b: Factor, onto: Onto) {
    if m * n == 0 {
        return;
    }
    let (height, width) = tile(m, n, m * n * k);
    let (down, across) = (m.div_ceil(height), n.div_ceil(width));
    let one = |index: usize| {
        let (row, column) = (index % down * height, index / down * width);
        let (a, b) = (a.from(row, 0), b.from(0, column));
        let sizes = [height.min(m - row), width.min(n - column), k];
        // SAFETY: the tile lies in the target, and is no other's.
        unsafe { multiply(target.at(row * n + column), n, sizes, 1.0, a, b, onto) };
    };
    match down * across {
        1 => one(0),
        tiles => (0..tiles).into_par_iter().with_max_len(1).for_each(one),
    }
}

/// Height and width of tiles: two for each thread, of whole rows where there are enough of them.
fn tile(m: usize, n: usize, cost: usize) -> (usize, usize) {
    const WORTH_THREADS: usize = 1 << 18;
    if cost < WORTH_THREADS {
        return (m, n);
    }
    let wanted = 2 * rayon::current_num_threads();
    let down = wanted.min(m.div_ceil(TILE));
    let across = wanted.div_ceil(down).min(n.div_ceil(TILE));
    (m.div_ceil(down).next_multiple_of(16), n.div_ceil(across).next_multiple_of(16))
}

/// The sum of the rows of `[rows, width]`.
pub(super) fn column_sums(numbers: &[f32], width: usize) -> Result<Fresh> {
    /// Rows that are added to a partial sum; where they begin depends on the sizes alone.
    const ROWS: usize = 256;
    let mut parts: Vec<Vec<f32>> = numbers
        .par_chunks(ROWS * width.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; width];
            for row in rows.chunks_exact(width.max(1)) {
                add_to(&mut sums, row);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; width];
    parts.drain(..).for_each(|part| add_to(&mut total, &part));
    Ok(Fresh::from(total))
}

pub(super) fn add_to(sums: &mut [f32], more: &[f32]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
