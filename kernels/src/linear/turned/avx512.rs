//! Squares of 16 rows and columns by AVX-512.

use std::arch::x86_64::*;

use super::SIDE;

/// Turns a square: neighbouring rows are interleaved by one number, then by two, then by four and by eight.
#[target_feature(enable = "avx512f")]
pub(super) fn square(rows: &[f32], step: usize, out: &mut [f32], out_step: usize) {
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
