//! The gradient of the losses of tokens: softmax of the logits, less 1 at the target, times the gradient of the loss.

use pulp::{Simd, WithSimd};

use super::math;

/// Turns a row of logits into the gradient of each.
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
        let (totals, gradients) = (simd.splat_f32s(total), simd.splat_f32s(gradient));
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

/// e^(x - total) times the gradient.
#[inline(always)]
fn slope<S: Simd>(simd: S, x: S::f32s, total: S::f32s, gradient: S::f32s) -> S::f32s {
    simd.mul_f32s(math::exp(simd, simd.sub_f32s(x, total)), gradient)
}
