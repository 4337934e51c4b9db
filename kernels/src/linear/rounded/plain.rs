//! The sums for every CPU, in f32.

use pulp::{Simd, WithSimd};

use super::{COLUMNS, LANES, ROWS, Sums, rows};
use crate::linear::bf16;
use crate::linear::dots::folded;

/// The half of a pair that has its second number.
const SECOND: u32 = 0xffff_0000;

#[inline(always)]
pub(super) fn paired(row: &[f32], pairs: &mut [u32]) {
    let (whole, rest) = row.as_chunks::<2>();
    for (pair, [first, second]) in pairs.iter_mut().zip(whole) {
        *pair = bf16::bits(*first) | bf16::bits(*second) << 16;
    }
    if let ([last], Some(pair)) = (rest, pairs.last_mut()) {
        *pair = bf16::bits(*last);
    }
}

pub(super) struct Products<'a> {
    pub x: &'a [u32],
    pub columns: &'a [u32],
}

impl WithSimd for Products<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sums {
        let mut result = [[0.0; COLUMNS]; ROWS];
        let shift = simd.splat_u32s(16);
        let mask = simd.splat_u32s(SECOND);
        for begin in (0..COLUMNS).step_by(S::F32_LANES) {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for (x, columns) in rows(self.x).zip(self.columns.as_chunks::<COLUMNS>().0) {
                let pairs = S::as_simd_u32s(&columns[begin..begin + S::F32_LANES]).0[0];
                let first = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pairs, shift));
                let second = simd.transmute_f32s_u32s(simd.and_u32s(pairs, mask));
                let x_first = x.map(|pair| f32::from_bits(pair << 16));
                let x_second = x.map(|pair| f32::from_bits(pair & SECOND));
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.mul_add_f32s(simd.splat_f32s(x_second[row]), second, *sum);
                    *sum = simd.mul_add_f32s(simd.splat_f32s(x_first[row]), first, *sum);
                }
            }
            for (result, sums) in result.iter_mut().zip(sums) {
                S::as_mut_simd_f32s(&mut result[begin..begin + S::F32_LANES]).0[0] = sums;
            }
        }
        result
    }
}

/// The dot products of a row with some others, each in sums that lie side by side.
pub(super) struct Dots<'a, const N: usize> {
    pub x: &'a [u32],
    pub rows: [&'a [u32]; N],
}

impl<const N: usize> WithSimd for Dots<'_, N> {
    type Output = [f32; N];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> [f32; N] {
        let mut result = [0.0; N];
        let (x, x_rest) = self.x.as_chunks::<LANES>();
        for (place, row) in result.iter_mut().zip(self.rows) {
            let (row, rest) = row.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (x, row) in x.iter().zip(row) {
                add(&mut sums, x, row);
            }
            add(&mut sums, x_rest, rest);
            *place = folded(sums);
        }
        result
    }
}

/// Adds the products of pairs to the sums. A product is exact, so that an addition which is not fused with it has the same bits.
#[inline(always)]
fn add(sums: &mut [f32; LANES], x: &[u32], row: &[u32]) {
    for ((sum, x), row) in sums.iter_mut().zip(x).zip(row) {
        let [x_first, x_second] = widened(*x);
        let [first, second] = widened(*row);
        *sum += x_second * second;
        *sum += x_first * first;
    }
}

/// Returns the numbers of a pair.
#[inline(always)]
pub(super) fn widened(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & SECOND)]
}
