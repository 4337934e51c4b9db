//! Cross-entropy losses of tokens, and divergences of predictions.

pub(crate) mod by_words;
pub(crate) mod cross_entropy;
pub(crate) mod divergence;
mod row_slopes;
pub(crate) mod some_words;

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};

use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::numbers::softmax::largest;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat, math};
use crate::tape::record::record;

/// Computes log(sum of e^logits) - the target's logit, in nats, for logits `[n, vocab]`: `[n]` in f32. The logits are
/// not copied.
pub fn token_losses(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, vocab) = logits.dims2()?;
    check_targets(targets, rows, vocab)?;
    let way = if rows == 0 { Implementation::Plain } else { Implementation::of(&[logits]) };
    match way {
        Implementation::Fused => fused(logits, targets)?.tensor(&[rows], DType::F32),
        Implementation::Recorded => {
            let from = flat(logits)?;
            let ids = targets.to_vec();
            record("token_losses", fused(logits, targets)?, &[rows], &[logits], move |losses, gradient| {
                Ok(vec![Some(back(&from, &ids, losses, gradient)?)])
            })
        }
        Implementation::Plain => token_losses_plain(logits, targets),
    }
}

/// Refuses targets unless there is one for each row, within the vocabulary.
pub(super) fn check_targets(targets: &[u32], rows: usize, vocab: usize) -> Result<()> {
    if targets.len() != rows {
        bail!(Shape, "expected a target for each of {rows} rows of logits, found {}", targets.len());
    }
    if let Some(id) = targets.iter().find(|id| **id as usize >= vocab) {
        bail!(Index, "expected targets below the vocabulary of {vocab}, found {id}");
    }
    Ok(())
}

fn fused(logits: &Tensor, targets: &[u32]) -> Result<Fresh> {
    let (rows, vocab) = logits.dims2()?;
    let arch = arch();
    let flat_logits = flat(logits)?;
    let numbers = FlatNumbers::of(&flat_logits)?;
    let all = numbers.slice();
    let mut losses = Fresh::new(rows)?;
    losses.write(1, vocab, |first, losses| {
        for (index, loss) in losses.iter_mut().enumerate() {
            let row = first + index;
            let logits = &all[row * vocab..(row + 1) * vocab];
            *loss = arch.dispatch(Total { logits }) - logits[targets[row] as usize];
        }
    });
    Ok(losses)
}

/// Computes the gradient of logits, from the losses and their gradients.
fn back(logits: &Tensor, targets: &[u32], losses: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let (_, vocab) = logits.dims2()?;
    let arch = arch();
    let losses = flat(losses)?;
    let gradient = flat(gradient)?;
    let numbers = FlatNumbers::of(logits)?;
    let losses = FlatNumbers::of(&losses)?;
    let gradients = FlatNumbers::of(&gradient)?;
    let numbers = numbers.slice();
    let losses = losses.slice();
    let gradients = gradients.slice();
    let mut out = Fresh::new(numbers.len())?;
    out.write(vocab, vocab, |first, out| {
        out.copy_from_slice(&numbers[first * vocab..first * vocab + out.len()]);
        for (index, logits) in out.chunks_exact_mut(vocab).enumerate() {
            let row = first + index;
            let target = targets[row] as usize;
            let total = losses[row] + logits[target];
            arch.dispatch(LogitSlopes { logits, total, target, gradient: gradients[row] });
        }
    });
    out.tensor(logits.dims(), DType::F32)
}

/// log(sum of e^logits).
pub(super) struct Total<'a> {
    pub logits: &'a [f32],
}

impl WithSimd for Total<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let most = largest(simd, self.logits);
        let shift = simd.splat_f32s(most);
        let (whole, rest) = S::as_simd_f32s(self.logits);
        let mut sum = simd.splat_f32s(0.0);
        for x in whole {
            sum = simd.add_f32s(sum, math::exp(simd, simd.sub_f32s(*x, shift)));
        }
        let mut sum = simd.reduce_sum_f32s(sum);
        if !rest.is_empty() {
            // As many as the widest registers hold.
            let mut last = [0.0; 16];
            let powers = math::exp(simd, simd.sub_f32s(simd.partial_load_f32s(rest), shift));
            simd.partial_store_f32s(&mut last[..rest.len()], powers);
            sum += last.iter().sum::<f32>();
        }
        sum.ln() + most
    }
}

/// Replacement of a row of logits by their gradients: softmax of the logits, minus 1 at the target, times the gradient
/// of the loss.
pub(super) struct LogitSlopes<'a> {
    pub logits: &'a mut [f32],
    /// log(sum of e^logits).
    pub total: f32,
    pub target: usize,
    /// The gradient of the loss.
    pub gradient: f32,
}

impl WithSimd for LogitSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { logits, total, target, gradient } = self;
        let totals = simd.splat_f32s(total);
        let gradients = simd.splat_f32s(gradient);
        let (whole, rest) = S::as_mut_simd_f32s(logits);
        for x in whole {
            *x = slope(simd, *x, totals, gradients);
        }
        if !rest.is_empty() {
            simd.partial_store_f32s(rest, slope(simd, simd.partial_load_f32s(rest), totals, gradients));
        }
        if let Some(right) = logits.get_mut(target) {
            *right -= gradient;
        }
    }
}

/// Computes e^(x - total) times the gradient.
#[inline(always)]
fn slope<S: Simd>(simd: S, x: S::f32s, total: S::f32s, gradient: S::f32s) -> S::f32s {
    simd.mul_f32s(math::exp(simd, simd.sub_f32s(x, total)), gradient)
}

pub(super) fn token_losses_plain(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let wide = if logits.dtype() == DType::F64 { logits.clone() } else { logits.to_dtype(DType::F32)? };
    let targets = Tensor::from_slice(targets, (targets.len(), 1), logits.device())?;
    Ok((totals_plain(&wide)? - wide.contiguous()?.gather(&targets, 1)?)?.squeeze(1)?)
}

/// Computes log(sum of e^logits) of each row: `[rows, 1]`, in f32 or wider.
pub(super) fn totals_plain(logits: &Tensor) -> Result<Tensor> {
    let wide = if logits.dtype() == DType::F64 { logits.clone() } else { logits.to_dtype(DType::F32)? };
    let most = wide.max_keepdim(1)?.detach();
    Ok((wide.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?.log()? + most)?)
}
