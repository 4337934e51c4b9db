//! The loops of norms over rows.

use pulp::{Simd, WithSimd};

use crate::arguments::norm::NormKind;

/// The divisors of rows: computed from their numbers and this `eps`, or given for each row.
#[derive(Clone, Copy)]
pub(super) enum Divisor<'a> {
    Own(f32),
    Given(&'a [f32]),
}

impl Divisor<'_> {
    pub fn of_rows(&self, first: usize, count: usize) -> Self {
        match self {
            Self::Own(eps) => Self::Own(*eps),
            Self::Given(scales) => Self::Given(&scales[first..first + count]),
        }
    }
}

/// Computation of the norms of whole rows.
pub(super) struct NormRows<'a> {
    pub out: &'a mut [f32],
    pub x: &'a [f32],
    pub width: usize,
    pub kind: NormKind,
    pub divisor: Divisor<'a>,
    pub weight: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
}

impl WithSimd for NormRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.out.chunks_exact_mut(self.width).zip(self.x.chunks_exact(self.width));
        for (row, (out, x)) in rows.enumerate() {
            let mean = mean(simd, x, self.kind);
            let scale = match self.divisor {
                Divisor::Own(eps) => scale(simd, x, mean, eps),
                Divisor::Given(scales) => scales[row],
            };
            // Divided, not multiplied by the inverse: the norm with a given divisor must have the same bits.
            let centred = MeanAndScale { mean: simd.splat_f32s(mean), scale: simd.splat_f32s(scale) };
            write(simd, out, x, self.weight, self.bias, centred);
        }
    }
}

/// Computation of the divisor of each row.
pub(super) struct Scales<'a> {
    pub out: &'a mut [f32],
    pub x: &'a [f32],
    pub width: usize,
    pub kind: NormKind,
    pub eps: f32,
}

impl WithSimd for Scales<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (out, x) in self.out.iter_mut().zip(self.x.chunks_exact(self.width)) {
            *out = scale(simd, x, mean(simd, x, self.kind), self.eps);
        }
    }
}

/// Returns the mean that is subtracted from a row: 0 for an RMS norm.
#[inline(always)]
pub(super) fn mean<S: Simd>(simd: S, x: &[f32], kind: NormKind) -> f32 {
    match kind {
        NormKind::Layer => sum(simd, x, |x| x, |x| x) / x.len() as f32,
        NormKind::Rms => 0.0,
    }
}

#[inline(always)]
pub(super) fn scale<S: Simd>(simd: S, x: &[f32], mean: f32, eps: f32) -> f32 {
    let means = simd.splat_f32s(mean);
    let squares = sum(
        simd,
        x,
        |x| {
            let x = simd.sub_f32s(x, means);
            simd.mul_f32s(x, x)
        },
        |x| (x - mean) * (x - mean),
    );
    (squares / x.len() as f32 + eps).sqrt()
}

/// Returns the sum of a function of the numbers, by registers, and of the rest one by one. Four independent sums hide
/// the latency of additions.
#[inline(always)]
fn sum<S: Simd>(simd: S, x: &[f32], of: impl Fn(S::f32s) -> S::f32s, of_one: impl Fn(f32) -> f32) -> f32 {
    let (whole, rest) = S::as_simd_f32s(x);
    let (fours, whole) = whole.as_chunks::<4>();
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum = simd.add_f32s(*sum, of(*x));
        }
    }
    for (sum, x) in sums.iter_mut().zip(whole) {
        *sum = simd.add_f32s(*sum, of(*x));
    }
    let [a, b, c, d] = sums;
    let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
    rest.iter().fold(simd.reduce_sum_f32s(sum), |sum, x| sum + of_one(*x))
}

pub(super) struct MeanAndScale<S: Simd> {
    pub mean: S::f32s,
    pub scale: S::f32s,
}

#[inline(always)]
pub(super) fn write<S: Simd>(
    simd: S,
    out: &mut [f32],
    x: &[f32],
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    centred: MeanAndScale<S>,
) {
    let normed = |x| simd.div_f32s(simd.sub_f32s(x, centred.mean), centred.scale);
    let (out, out_rest) = S::as_mut_simd_f32s(out);
    let (x, x_rest) = S::as_simd_f32s(x);
    let (weight, weight_rest) = weight.map(S::as_simd_f32s).unzip();
    let (bias, bias_rest) = bias.map(S::as_simd_f32s).unzip();
    match (weight, bias) {
        (Some(weight), Some(bias)) => {
            for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = simd.add_f32s(simd.mul_f32s(normed(*x), *weight), *bias);
            }
        }
        (Some(weight), None) => {
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = simd.mul_f32s(normed(*x), *weight);
            }
        }
        (None, Some(bias)) => {
            for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
                *out = simd.add_f32s(normed(*x), *bias);
            }
        }
        (None, None) => {
            for (out, x) in out.iter_mut().zip(x) {
                *out = normed(*x);
            }
        }
    }
    if !x_rest.is_empty() {
        let mut y = normed(simd.partial_load_f32s(x_rest));
        if let Some(weight) = weight_rest {
            y = simd.mul_f32s(y, simd.partial_load_f32s(weight));
        }
        if let Some(bias) = bias_rest {
            y = simd.add_f32s(y, simd.partial_load_f32s(bias));
        }
        simd.partial_store_f32s(out_rest, y);
    }
}
