//! One step of AdamW in one pass over weights, gradients and moments, and the norm of gradients before it.

pub(crate) mod in_place;

use candle_core::{DType, Tensor, Var};
use pulp::{Simd, WithSimd};

use crate::arguments::adam::{AdamW, Factors};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::{parallel, simulated_threads};
use crate::device;
use crate::numbers::{FlatNumbers, flat, fusible};
use in_place::in_place;

/// Numbers in a piece of work; where pieces begin depends on the sizes only.
const PIECE: usize = 1 << 14;

/// Updates a weight and the moments of its gradient in place:
///
/// m = beta m + (1 - beta) g, v = beta' v + (1 - beta') g^2, w = (1 - rate decay) w - rate m^ / (sqrt(v^) + eps).
pub fn adamw_step(weight: &Var, gradient: &Tensor, moments: [&Var; 2], settings: AdamW) -> Result<()> {
    let [mean, square] = moments;
    if [gradient, mean, square].iter().any(|other| other.dims() != weight.dims()) {
        bail!(
            Shape,
            "expected gradient and moments of the weight's shape {:?}, found {:?}, {:?} and {:?}",
            weight.dims(),
            gradient.dims(),
            mean.dims(),
            square.dims()
        );
    }
    if device::adam(weight, gradient, moments, settings, false)? {
        return Ok(());
    }
    let all = [weight, mean, square].map(|variable| variable.as_detached_tensor());
    let whole = all.iter().all(|variable| variable.dtype() == DType::F32 && variable.is_contiguous());
    if !whole || !fusible(&[&gradient.detach(), &all[0], &all[1], &all[2]]) {
        return adamw_plain(weight, gradient, moments, settings);
    }
    let arch = arch();
    let factors = Factors::of(settings);
    let gradient = flat(gradient)?;
    let numbers = FlatNumbers::of(&gradient)?;
    in_place(weight, |weights| {
        in_place(mean, |means| {
            in_place(square, |squares| {
                simulated_threads::touches(4 * 7 * weights.len());
                let moments = means.chunks_mut(PIECE).zip(squares.chunks_mut(PIECE));
                let pieces = weights.chunks_mut(PIECE).zip(numbers.slice().chunks(PIECE)).zip(moments);
                parallel::of_each_short(pieces, &|((weights, gradients), (means, squares))| {
                    arch.dispatch(UpdatePiece { weights, gradients, means, squares, factors });
                });
                Ok(())
            })
        })
    })
}

pub(super) fn adamw_plain(weight: &Var, gradient: &Tensor, moments: [&Var; 2], settings: AdamW) -> Result<()> {
    let AdamW { rate, betas: [b1, b2], eps, decay, shrink, begun } = settings;
    let gradient = (gradient.detach() * shrink)?;
    let mean = ((moments[0].as_detached_tensor() * b1)? + (&gradient * (1.0 - b1))?)?;
    let square = ((moments[1].as_detached_tensor() * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
    let change = ((&mean / begun[0])? / ((&square / begun[1])?.sqrt()? + eps)?)?;
    let kept = (weight.as_detached_tensor() * (1.0 - rate * decay))?;
    weight.set(&(kept - (change * rate)?)?)?;
    moments[0].set(&mean)?;
    Ok(moments[1].set(&square)?)
}

/// Computes the norm of all gradients together, summed in a fixed order.
pub fn global_norm<'a>(gradients: impl IntoIterator<Item = &'a Tensor>) -> Result<f64> {
    let mut sum = 0.0;
    let mut elsewhere = Vec::new();
    for gradient in gradients {
        if !gradient.device().is_cpu() {
            elsewhere.push(squares_of_rows(&gradient.detach())?);
            continue;
        }
        let gradient = flat(gradient)?;
        let numbers = FlatNumbers::of(&gradient)?;
        let arch = arch();
        let parts =
            parallel::of_each_short(numbers.slice().chunks(PIECE), &|part| f64::from(arch.dispatch(Squares(part))));
        sum += parts.iter().sum::<f64>();
    }
    if !elsewhere.is_empty() {
        // All of them in one copy from the device.
        sum += Tensor::cat(&elsewhere, 0)?.to_vec1::<f64>()?.iter().sum::<f64>();
    }
    Ok(sum.sqrt())
}

/// Returns the sum of the squares of a tensor on a device, in f64: `[1]`. Rows are summed first, since a sum of
/// everything is made by one block of threads.
fn squares_of_rows(t: &Tensor) -> Result<Tensor> {
    let squares = t.to_dtype(DType::F32)?.sqr()?;
    let rows = if squares.rank() > 1 { squares.sum(squares.rank() - 1)? } else { squares };
    Ok(rows.to_dtype(DType::F64)?.sum_all()?.reshape(1)?)
}

/// Weights, their gradients and moments.
pub(super) struct UpdatePiece<'a> {
    pub weights: &'a mut [f32],
    pub gradients: &'a [f32],
    pub means: &'a mut [f32],
    pub squares: &'a mut [f32],
    pub factors: Factors,
}

impl WithSimd for UpdatePiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { weights, gradients, means, squares, factors } = self;
        let Factors { shrink, betas: [b1, b2], rests: [r1, r2], correction, eps, rate, keep } = factors;
        let moments = means.iter_mut().zip(squares);
        for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * shrink;
            *mean = b1 * *mean + r1 * gradient;
            *square = b2 * *square + r2 * gradient * gradient;
            *weight = keep * *weight - rate * *mean / (square.sqrt() * correction + eps);
        }
    }
}

/// The sum of the squares.
struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (whole, rest) = S::as_simd_f32s(self.0);
        let mut sum = simd.splat_f32s(0.0);
        for x in whole {
            sum = simd.mul_add_e_f32s(*x, *x, sum);
        }
        rest.iter().fold(simd.reduce_sum_f32s(sum), |sum, x| sum + x * x)
    }
}
