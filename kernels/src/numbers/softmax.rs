//! Softmax over the visible part of a row.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::elementwise::{Replace, Times};
use super::math;

/// Replacement of a row of scores by the pattern: softmax over the visible keys, 0 elsewhere.
pub(crate) struct Softmax<'a> {
    pub row: &'a mut [f32],
    /// Two ranges of keys, the second after the first.
    pub seen: [Range<usize>; 2],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, seen: [near, far] } = self;
        // The smallest finite number, so that a row of minus infinity only has the sum 0.
        let mut most = f32::MIN;
        for part in [&near, &far] {
            most = most.max(largest(simd, &row[part.clone()]));
        }
        let mut sum = 0.0;
        for part in [&near, &far] {
            sum += powers(simd, &mut row[part.clone()], most);
        }
        let scale = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        for part in [&near, &far] {
            Replace(&mut row[part.clone()], Times(scale)).with_simd(simd);
        }
        row[..near.start].fill(0.0);
        row[near.end..far.start].fill(0.0);
        row[far.end..].fill(0.0);
    }
}

/// Returns the largest number, or the smallest finite one if that is larger.
#[inline(always)]
pub(crate) fn largest<S: Simd>(simd: S, numbers: &[f32]) -> f32 {
    let (whole, rest) = S::as_simd_f32s(numbers);
    let mut most = simd.splat_f32s(f32::MIN);
    for x in whole {
        most = simd.max_f32s(most, *x);
    }
    rest.iter().fold(simd.reduce_max_f32s(most), |most, x| most.max(*x))
}

/// Replaces x by e^(x - most); returns the sum of the powers.
#[inline(always)]
fn powers<S: Simd>(simd: S, numbers: &mut [f32], most: f32) -> f32 {
    let most = simd.splat_f32s(most);
    let (whole, rest) = S::as_mut_simd_f32s(numbers);
    let mut sum = simd.splat_f32s(0.0);
    for x in whole {
        *x = math::exp(simd, simd.sub_f32s(*x, most));
        sum = simd.add_f32s(sum, *x);
    }
    let mut sum = simd.reduce_sum_f32s(sum);
    if !rest.is_empty() {
        let last = math::exp(simd, simd.sub_f32s(simd.partial_load_f32s(rest), most));
        simd.partial_store_f32s(rest, last);
        for x in rest {
            sum += *x;
        }
    }
    sum
}
