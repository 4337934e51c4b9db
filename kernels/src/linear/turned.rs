//! Rows of weights as columns, as matrix products read them: `gemm` reads neighbouring rows side by side, and copies one
//! number at a time where they lie one after the other, which took a quarter of a product with 256 rows.

use pulp::Arch;

use super::dots::aligned;
use super::factor::Factor;

/// Rows and columns that are turned together, as many as a register holds.
const SIDE: usize = 16;

/// Returns W^T of rows of W, which are turned in a buffer where the CPU does that fast. Of fewer rows than a register
/// holds `gemm` makes dot products, which read them as they are.
pub(super) fn turned<'a>(arch: Arch, rows: &'a [f32], inner: usize, buffer: &'a mut Vec<f32>) -> Factor<'a> {
    let count = rows.len() / inner.max(1);
    if count < SIDE || !is_fast(arch) {
        return Factor { numbers: rows, row: 1, column: inner as isize };
    }
    let out = aligned(buffer, count * inner);
    turn(rows, inner, out);
    Factor { numbers: out, row: count as isize, column: 1 }
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
pub(super) fn is_fast(arch: Arch) -> bool {
    matches!(arch, Arch::V4(_)) && is_x86_feature_detected!("avx512f")
}

#[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
pub(super) fn is_fast(_: Arch) -> bool {
    false
}

/// Writes rows as columns, where the CPU does that fast: in squares, and the rest one number at a time.
pub(super) fn turn(rows: &[f32], inner: usize, out: &mut [f32]) {
    let count = rows.len() / inner.max(1);
    let [down, across] = [count, inner].map(|size| size / SIDE * SIDE);
    for row in (0..down).step_by(SIDE) {
        for column in (0..across).step_by(SIDE) {
            square(&rows[row * inner + column..], inner, &mut out[column * count + row..], count);
        }
    }
    for row in 0..count {
        let first = if row < down { across } else { 0 };
        for column in first..inner {
            out[column * count + row] = rows[row * inner + column];
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
fn square(rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
    for row in 0..SIDE {
        for column in 0..SIDE {
            out[column * out_step + row] = rows[row * step + column];
        }
    }
}

/// Turns a square: neighbouring rows are interleaved by one number, then by two, then by four and by eight.
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
fn square(rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    fn interleaved(from: [__m512; SIDE]) -> [__m512; SIDE] {
        let mut pairs = [_mm512_setzero_pd(); SIDE];
        for at in (0..SIDE).step_by(2) {
            pairs[at] = _mm512_castps_pd(_mm512_unpacklo_ps(from[at], from[at + 1]));
            pairs[at + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(from[at], from[at + 1]));
        }
        // Of four rows each: number c has column 4 l + c in lane l.
        let mut fours = [_mm512_setzero_ps(); SIDE];
        for at in (0..SIDE).step_by(4) {
            fours[at] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[at], pairs[at + 2]));
            fours[at + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[at], pairs[at + 2]));
            fours[at + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[at + 1], pairs[at + 3]));
            fours[at + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[at + 1], pairs[at + 3]));
        }
        let mut columns = [_mm512_setzero_ps(); SIDE];
        for c in 0..4 {
            // Lanes 0 and 2, and lanes 1 and 3, of the first eight rows and of the last.
            let even = _mm512_shuffle_f32x4::<0x88>(fours[c], fours[4 + c]);
            let odd = _mm512_shuffle_f32x4::<0xdd>(fours[c], fours[4 + c]);
            let even_last = _mm512_shuffle_f32x4::<0x88>(fours[8 + c], fours[12 + c]);
            let odd_last = _mm512_shuffle_f32x4::<0xdd>(fours[8 + c], fours[12 + c]);
            columns[c] = _mm512_shuffle_f32x4::<0x88>(even, even_last);
            columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd, odd_last);
            columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even, even_last);
            columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_last);
        }
        columns
    }

    #[target_feature(enable = "avx512f")]
    fn moved(rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
        let mut from = [_mm512_setzero_ps(); SIDE];
        for (row, from) in from.iter_mut().enumerate() {
            let numbers = &rows[row * step..row * step + SIDE];
            // SAFETY: 16 numbers, which may have any address.
            *from = unsafe { _mm512_loadu_ps(numbers.as_ptr()) };
        }
        for (column, numbers) in interleaved(from).into_iter().enumerate() {
            let place = &mut out[column * out_step..column * out_step + SIDE];
            // SAFETY: room for 16 numbers.
            unsafe { _mm512_storeu_ps(place.as_mut_ptr(), numbers) };
        }
    }

    // SAFETY: the CPU has these instructions, see `is_fast`.
    unsafe { moved(rows, step, out, out_step) };
}

#[cfg(test)]
mod tests {
    use super::{is_fast, turn};
    use crate::base::instructions::arch;

    #[test]
    fn columns_are_the_rows() {
        if cfg!(feature = "avx512") && !is_fast(arch()) {
            return;
        }
        for [count, inner] in [[1, 1], [3, 5], [16, 16], [16, 40], [37, 16], [35, 51], [48, 33]] {
            let rows: Vec<f32> = (0..count * inner).map(|number| number as f32).collect();
            let mut found = vec![0.0; rows.len()];
            turn(&rows, inner, &mut found);
            for row in 0..count {
                for column in 0..inner {
                    assert_eq!(found[column * count + row], rows[row * inner + column]);
                }
            }
        }
    }
}
