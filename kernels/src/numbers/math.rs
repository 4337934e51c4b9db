//! exp, tanh, erf, activation functions and their derivatives, in f32 over vector registers.
//!
//! The polynomials and the ratio were fitted for this file (least squares, reweighted to minimise the largest error); the
//! error bounds stand at each function and are tested against f64. NaN gives NaN.

use pulp::Simd;

/// 1.5 * 2^23: a number of this magnitude has no fraction, and its low bits are the integer.
const ROUNDING: f32 = 12_582_912.0;

/// Computes the sum of c[i] x^i, by Horner.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, c: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(c[N - 1]);
    for &c in c[..N - 1].iter().rev() {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(c));
    }
    sum
}

/// Computes 2^n for an integer n of magnitude at most 127.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, n: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(simd.add_f32s(n, simd.splat_f32s(ROUNDING)));
    let exponent = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(exponent, simd.splat_u32s(127 << 23)))
}

#[inline(always)]
fn where_nan<S: Simd>(simd: S, x: S::f32s, otherwise: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(x, x), otherwise, x)
}

/// Computes e^x, with relative error up to 2e-7; infinity and 0 outside the range of f32.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let round = simd.splat_f32s(ROUNDING);
    let limited = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-104.0)), simd.splat_f32s(89.0));
    let n = simd.mul_add_e_f32s(limited, simd.splat_f32s(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(n, round);
    let r = simd.negate_mul_add_e_f32s(n, simd.splat_f32s(LN_2_HIGH), limited);
    let r = simd.negate_mul_add_e_f32s(n, simd.splat_f32s(LN_2_LOW), r);
    let p = polynomial(simd, r, [0.499_999_93, 0.166_665_2, 0.041_668_39, 0.008_368_717, 0.001_381_459_8]);
    let p = simd.add_f32s(simd.mul_add_e_f32s(simd.mul_f32s(r, r), p, r), simd.splat_f32s(1.0));
    // In two steps, since 2^n alone may be outside the range of f32.
    let half = simd.mul_add_e_f32s(n, simd.splat_f32s(0.5), round);
    let half = simd.sub_f32s(half, round);
    let p = simd.mul_f32s(p, power_of_two(simd, half));
    where_nan(simd, x, simd.mul_f32s(p, power_of_two(simd, simd.sub_f32s(n, half))))
}

/// Computes tanh, with relative error up to 3e-7.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let two = simd.splat_f32s(2.0);
    let size = simd.abs_f32s(x);
    let square = simd.mul_f32s(x, x);
    let near = polynomial(simd, square, [-0.333_332_8, 0.133_314_4, -0.053_739_716, 0.020_639_09, -0.005_704_988_3]);
    let near = simd.mul_add_e_f32s(simd.mul_f32s(square, x), near, x);
    let far = exp(simd, simd.mul_f32s(size, two));
    let far = simd.sub_f32s(one, simd.div_f32s(two, simd.add_f32s(far, one)));
    let far = simd.or_f32s(far, simd.and_f32s(x, simd.splat_f32s(-0.0)));
    simd.select_f32s(simd.less_than_f32s(size, simd.splat_f32s(0.625)), near, far)
}

/// Computes the error function, with relative error up to 3e-7.
#[inline(always)]
pub fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// Number from which on the nearest f32 of erf is 1.
    const END: f32 = 3.925;
    let end = simd.splat_f32s(END);
    let size = simd.min_f32s(simd.abs_f32s(x), end);
    let t = simd.mul_f32s(size, size);
    let above =
        [std::f32::consts::FRAC_2_SQRT_PI, 0.191_548, 0.052_875_1, 0.003_808_051_8, 2.846_835_7e-4, 2.025_903_8e-6];
    let below = [1.0, 0.503_087_7, 0.114_558_63, 0.015_054_871, 0.001_170_696, 3.783_154e-5];
    let ratio = simd.div_f32s(polynomial(simd, t, above), polynomial(simd, t, below));
    let near = simd.mul_f32s(x, ratio);
    let one = simd.or_f32s(simd.splat_f32s(1.0), simd.and_f32s(x, simd.splat_f32s(-0.0)));
    where_nan(simd, x, simd.select_f32s(simd.less_than_f32s(simd.abs_f32s(x), end), near, one))
}

/// Computes max(x, 0).
#[inline(always)]
pub fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, x)
}

/// Computes max(x, 0)^2.
#[inline(always)]
pub fn squared_relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let above = relu(simd, x);
    simd.mul_f32s(above, above)
}

/// Computes x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, with error up to 3e-7 of x.
#[inline(always)]
pub fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let erf = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    simd.mul_f32s(half, simd.add_f32s(simd.splat_f32s(1.0), erf))
}

/// Computes x (1 + tanh u) / 2 = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016).
#[inline(always)]
pub fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const SCALE: f32 = -2.0 * 0.797_884_6;
    let cubed = simd.mul_f32s(simd.mul_f32s(x, x), x);
    let inner = simd.mul_add_e_f32s(cubed, simd.splat_f32s(0.044_715), x);
    over_one_plus_exp(simd, x, simd.mul_f32s(inner, simd.splat_f32s(SCALE)))
}

/// Computes x sigmoid(x).
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    over_one_plus_exp(simd, x, simd.neg_f32s(x))
}

/// Computes x / (1 + e^y).
#[inline(always)]
fn over_one_plus_exp<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.div_f32s(x, simd.add_f32s(simd.splat_f32s(1.0), exp(simd, y)))
}

/// Computes the derivative of [`relu`]: 1 above 0, and 0 at 0, as candle's.
#[inline(always)]
pub fn relu_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, simd.splat_f32s(1.0))
}

/// Computes the derivative of [`squared_relu`]: 2 max(x, 0).
#[inline(always)]
pub fn squared_relu_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let above = relu(simd, x);
    simd.add_f32s(above, above)
}

/// Computes the derivative of [`gelu`]: Phi(x) + x phi(x), for the distribution function and the density of the
/// standard normal.
#[inline(always)]
pub fn gelu_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// 1 / sqrt(2 pi).
    const DENSITY: f32 = 0.398_942_3;
    let half = simd.splat_f32s(0.5);
    let erf = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    let below = simd.mul_add_e_f32s(erf, half, half);
    let density = exp(simd, simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5)));
    simd.mul_add_e_f32s(simd.mul_f32s(x, density), simd.splat_f32s(DENSITY), below)
}

/// Computes the derivative of [`gelu_tanh`]: s + x s (1 - s) v' for s = sigmoid(v) with v = 2 sqrt(2 / pi) (x +
/// 0.044715 x^3).
#[inline(always)]
pub fn gelu_tanh_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const SCALE: f32 = 2.0 * 0.797_884_6;
    const CUBE: f32 = 0.044_715;
    let square = simd.mul_f32s(x, x);
    let one = simd.splat_f32s(1.0);
    let inner = simd.mul_add_e_f32s(square, simd.splat_f32s(CUBE), one);
    let v = simd.mul_f32s(simd.mul_f32s(x, inner), simd.splat_f32s(SCALE));
    let slope = simd.mul_add_e_f32s(square, simd.splat_f32s(3.0 * CUBE * SCALE), simd.splat_f32s(SCALE));
    slope_of_sigmoid_times(simd, x, v, slope)
}

/// Computes the derivative of [`silu`]: s + x s (1 - s) for s = sigmoid(x).
#[inline(always)]
pub fn silu_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    slope_of_sigmoid_times(simd, x, x, simd.splat_f32s(1.0))
}

/// Computes the derivative of x sigmoid(v), where that of v is `slope`.
#[inline(always)]
fn slope_of_sigmoid_times<S: Simd>(simd: S, x: S::f32s, v: S::f32s, slope: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let s = simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(v))));
    let change = simd.mul_f32s(simd.mul_f32s(s, simd.sub_f32s(one, s)), simd.mul_f32s(x, slope));
    simd.add_f32s(s, change)
}
