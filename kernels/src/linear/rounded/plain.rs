//! The sums for every CPU, in f32.

use pulp::{Simd, WithSimd};

use super::{COLUMNS, GROUP, LANES, ROWS, Sums};
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
    /// A group of rows.
    pub x: &'a [u32],
    pub columns: &'a [u32],
    /// The number of its rows that are multiplied.
    pub rows: usize,
}

/// Pairs whose numbers of x are widened before they are multiplied, in the first cache. From there a number is loaded to all lanes of
/// a register; one that is widened in the loop goes there by the ports that multiply, which takes twice as long.
const WIDENED: usize = 64;

/// The first numbers of a pair of each row, and the second.
type WidePair = [[f32; GROUP]; 2];

impl WithSimd for Products<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Sums {
        let mut sums = [[0.0; COLUMNS]; GROUP];
        let mut wide = [[[0.0; GROUP]; 2]; WIDENED];
        let x = self.x.as_chunks::<GROUP>().0.chunks(WIDENED);
        let columns = self.columns.as_chunks::<COLUMNS>().0.chunks(WIDENED);
        for (x, columns) in x.zip(columns) {
            let wide = &mut wide[..columns.len()];
            for (wide, x) in wide.iter_mut().zip(x) {
                widen(simd, x, wide);
            }
            for (half, sums) in sums.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                if half * ROWS >= self.rows {
                    break;
                }
                // Sums of two registers across are half the registers of AVX-512, those of one half of AVX2's.
                if S::REGISTER_COUNT >= 32 {
                    add_pairs::<S, 2>(simd, wide, half, columns, sums);
                } else {
                    add_pairs::<S, 1>(simd, wide, half, columns, sums);
                }
            }
        }
        sums
    }
}

/// Writes the numbers of a pair of each row of a group.
#[inline(always)]
fn widen<S: Simd>(simd: S, pairs: &[u32; GROUP], [first, second]: &mut WidePair) {
    let shift = simd.splat_u32s(16);
    let mask = simd.splat_u32s(SECOND);
    let pairs = S::as_simd_u32s(pairs).0;
    for (place, pairs) in S::as_mut_simd_f32s(first).0.iter_mut().zip(pairs) {
        *place = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(*pairs, shift));
    }
    for (place, pairs) in S::as_mut_simd_f32s(second).0.iter_mut().zip(pairs) {
        *place = simd.transmute_f32s_u32s(simd.and_u32s(*pairs, mask));
    }
}

/// Adds the products of some pairs to the sums of half the rows of a group, N registers across at a time.
#[inline(always)]
fn add_pairs<S: Simd, const N: usize>(
    simd: S,
    wide: &[WidePair],
    half: usize,
    columns: &[[u32; COLUMNS]],
    all: &mut [[f32; COLUMNS]; ROWS],
) {
    let shift = simd.splat_u32s(16);
    let mask = simd.splat_u32s(SECOND);
    for begin in (0..COLUMNS).step_by(N * S::F32_LANES) {
        let across = begin..begin + N * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); N]; ROWS];
        for row in 0..ROWS {
            sums[row].copy_from_slice(S::as_simd_f32s(&all[row][across.clone()]).0);
        }
        for ([x_first, x_second], columns) in wide.iter().zip(columns) {
            let x_first = &x_first.as_chunks::<ROWS>().0[half];
            let x_second = &x_second.as_chunks::<ROWS>().0[half];
            let pairs = S::as_simd_u32s(&columns[across.clone()]).0;
            for row in 0..ROWS {
                let x = simd.splat_f32s(x_second[row]);
                for n in 0..N {
                    let second = simd.transmute_f32s_u32s(simd.and_u32s(pairs[n], mask));
                    sums[row][n] = simd.mul_add_f32s(x, second, sums[row][n]);
                }
            }
            for row in 0..ROWS {
                let x = simd.splat_f32s(x_first[row]);
                for n in 0..N {
                    let first = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pairs[n], shift));
                    sums[row][n] = simd.mul_add_f32s(x, first, sums[row][n]);
                }
            }
        }
        for row in 0..ROWS {
            S::as_mut_simd_f32s(&mut all[row][across.clone()]).0.copy_from_slice(&sums[row]);
        }
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
