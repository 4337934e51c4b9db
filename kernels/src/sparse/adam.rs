//! A step of Adam for rows of which some have no gradient.

use candle_core::Var;

use super::{scale, squares};
use crate::arguments::adam::{AdamW, Factors, SHORTEST};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::{parallel, simulated_threads};
use crate::optimiser::UpdatePiece;
use crate::optimiser::in_place::in_place;

/// Numbers in a piece of work; where pieces begin depends on the sizes only.
const PIECE: usize = 1 << 14;

/// The gradient of a weight, row by row.
#[derive(Clone, Copy)]
pub struct RowGradients<'a> {
    pub numbers: &'a [f32],
    pub width: usize,
    /// Whether each row has a gradient; the numbers of the others are not read.
    pub there: &'a [bool],
}

/// Makes a step like [`adamw_step`](crate::optimiser::adamw_step); `unit`: rows are scaled to norm 1.
pub fn adam_rows(weight: &Var, gradient: RowGradients, moments: [&Var; 2], settings: AdamW, unit: bool) -> Result<()> {
    let RowGradients { numbers, width, there } = gradient;
    let count = weight.elem_count();
    let same = moments.iter().all(|moment| moment.elem_count() == count);
    if !same || numbers.len() != count || there.len() * width != count {
        bail!(Bug, "a gradient of {} rows of {width} for {:?}", there.len(), weight.dims());
    }
    if count == 0 {
        return Ok(());
    }
    let arch = arch();
    let factors = Factors::of(settings);
    let zeros = vec![0.0; width];
    let rows = (PIECE / width).max(1);
    let piece = |(first, ((weights, gradients), (means, squared))): (usize, UpdateParts)| {
        let moments = means.chunks_exact_mut(width).zip(squared.chunks_exact_mut(width));
        let weights = weights.chunks_exact_mut(width).zip(gradients.chunks_exact(width));
        for (row, ((weights, gradients), (means, squared))) in weights.zip(moments).enumerate() {
            let gradients = if there[first * rows + row] { gradients } else { &zeros };
            arch.dispatch(UpdatePiece { weights: &mut *weights, gradients, means, squares: squared, factors });
            if unit {
                let length = squares(arch, weights).sqrt().max(SHORTEST);
                scale(arch, weights, 1.0 / length);
            }
        }
    };
    in_place(weight, |weights| {
        in_place(moments[0], |means| {
            in_place(moments[1], |squared| {
                let moments = means.chunks_mut(rows * width).zip(squared.chunks_mut(rows * width));
                let weights = weights.chunks_mut(rows * width).zip(numbers.chunks(rows * width));
                simulated_threads::touches(4 * 7 * count);
                // From the end, since the gradients of the last rows were written last and are still in the cache.
                parallel::of_each_short(weights.zip(moments).enumerate().rev(), &piece);
                Ok(())
            })
        })
    })
}

/// Weights, gradients and the two moments of a piece.
type UpdateParts<'a> = ((&'a mut [f32], &'a [f32]), (&'a mut [f32], &'a mut [f32]));
