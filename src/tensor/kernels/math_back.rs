//! The slopes of the activations of math.rs, over vector registers.

use pulp::Simd;

use super::math::{erf, exp};

/// 1 above 0, where candle's twin has 0 at 0 itself.
#[inline(always)]
pub fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, simd.splat_f32s(1.0))
}

/// Phi(x) + x phi(x), for the normal distribution's sum and density.
#[inline(always)]
pub fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// 1 / sqrt(2 pi).
    const DENSITY: f32 = 0.398_942_3;
    let half = simd.splat_f32s(0.5);
    let erf = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    let below = simd.mul_add_e_f32s(erf, half, half);
    let density = exp(simd, simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5)));
    simd.mul_add_e_f32s(simd.mul_f32s(x, density), simd.splat_f32s(DENSITY), below)
}

/// s + x s (1 - s) v' for s = sigmoid(v) with v = 2 sqrt(2 / pi) (x + 0.044715 x^3).
#[inline(always)]
pub fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const SCALE: f32 = 2.0 * 0.797_884_6;
    const CUBE: f32 = 0.044_715;
    let square = simd.mul_f32s(x, x);
    let one = simd.splat_f32s(1.0);
    let inner = simd.mul_add_e_f32s(square, simd.splat_f32s(CUBE), one);
    let v = simd.mul_f32s(simd.mul_f32s(x, inner), simd.splat_f32s(SCALE));
    let slope = simd.mul_add_e_f32s(square, simd.splat_f32s(3.0 * CUBE * SCALE), simd.splat_f32s(SCALE));
    sigmoid_times(simd, x, v, slope)
}

/// s + x s (1 - s) for s = sigmoid(x).
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    sigmoid_times(simd, x, x, simd.splat_f32s(1.0))
}

/// The slope of x sigmoid(v), where v grows by `slope`.
#[inline(always)]
fn sigmoid_times<S: Simd>(simd: S, x: S::f32s, v: S::f32s, slope: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let s = simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(v))));
    let change = simd.mul_f32s(simd.mul_f32s(s, simd.sub_f32s(one, s)), simd.mul_f32s(x, slope));
    simd.add_f32s(s, change)
}
