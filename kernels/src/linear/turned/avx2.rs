//! Squares of 16 rows and columns by AVX2, in four of eight.

use std::arch::x86_64::*;

use super::SIDE;

/// Rows and columns of a quarter of a square.
const HALF: usize = SIDE / 2;

/// Turns a square, one quarter after the other.
#[target_feature(enable = "avx2")]
pub(super) fn square(rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
    // The next square below is prefetched, since the processor does not follow as many rows as this at once.
    for row in SIDE..2 * SIDE {
        _mm_prefetch::<_MM_HINT_T0>(rows.as_ptr().wrapping_add(row * step).cast());
    }
    for row in [0, HALF] {
        for column in [0, HALF] {
            let mut from = [_mm256_setzero_ps(); HALF];
            for (at, from) in from.iter_mut().enumerate() {
                let numbers = &rows[(row + at) * step + column..][..HALF];
                // SAFETY: 8 numbers, which may have any address.
                *from = unsafe { _mm256_loadu_ps(numbers.as_ptr()) };
            }
            for (at, numbers) in interleaved(from).into_iter().enumerate() {
                let place = &mut out[(column + at) * out_step + row..][..HALF];
                // SAFETY: room for 8 numbers.
                unsafe { _mm256_storeu_ps(place.as_mut_ptr(), numbers) };
            }
        }
    }
}

/// Turns eight rows of eight: neighbours are interleaved by one number, then by two, then by four.
#[target_feature(enable = "avx2")]
fn interleaved(from: [__m256; HALF]) -> [__m256; HALF] {
    let mut pairs = [_mm256_setzero_pd(); HALF];
    for at in (0..HALF).step_by(2) {
        pairs[at] = _mm256_castps_pd(_mm256_unpacklo_ps(from[at], from[at + 1]));
        pairs[at + 1] = _mm256_castps_pd(_mm256_unpackhi_ps(from[at], from[at + 1]));
    }
    let mut columns = [_mm256_setzero_ps(); HALF];
    for c in 0..4 {
        // Column c of the first four rows, and behind it column 4 + c; the same of the last four.
        let of_first = fours(pairs[c / 2], pairs[2 + c / 2], c % 2 == 1);
        let of_last = fours(pairs[4 + c / 2], pairs[6 + c / 2], c % 2 == 1);
        columns[c] = _mm256_permute2f128_ps::<0x20>(of_first, of_last);
        columns[4 + c] = _mm256_permute2f128_ps::<0x31>(of_first, of_last);
    }
    columns
}

/// Joins the first pairs of each half of two registers, or the second ones.
#[target_feature(enable = "avx2")]
#[inline]
fn fours(first: __m256d, second: __m256d, is_upper: bool) -> __m256 {
    _mm256_castpd_ps(if is_upper { _mm256_unpackhi_pd(first, second) } else { _mm256_unpacklo_pd(first, second) })
}
