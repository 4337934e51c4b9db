//! The sums by the CPU's own products of bf16.

use std::arch::x86_64::*;
use std::sync::LazyLock;

use pulp::Arch;

use super::{COLUMNS, GROUP, LANES, ROWS, Sums, plain};
use crate::linear::dots::folded;

/// Returns whether the CPU has the instructions.
pub(super) fn is_there(arch: Arch) -> bool {
    matches!(arch, Arch::V4(_)) && is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")
}

/// Returns whether the instruction is faster than two of f32, as it is on CPUs of AMD. On Intel's it is not: on Sapphire Rapids it
/// was measured at 1.1 to 1.5 ns, where the two take .5, and on Emerald Rapids products took 1.3 times as long as by
/// [`plain::Products`]. The maker is what tells: a virtual machine may hide the units for products of tiles (AMX) that Intel's CPUs
/// have instead.
pub(super) fn is_fast(arch: Arch) -> bool {
    static IS_OF_AMD: LazyLock<bool> = LazyLock::new(|| {
        let words = __cpuid(0);
        [words.ebx, words.edx, words.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    });
    is_there(arch) && *IS_OF_AMD
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn paired(row: &[f32], pairs: &mut [u32]) {
    let (whole, rest) = row.as_chunks::<{ 2 * LANES }>();
    let (places, last) = pairs.split_at_mut(whole.len() * LANES);
    for (row, place) in whole.iter().zip(places.as_chunks_mut::<LANES>().0) {
        // SAFETY: two times 16 numbers are read, and 16 pairs written.
        unsafe {
            let first = _mm512_loadu_ps(row.as_ptr());
            let second = _mm512_loadu_ps(row.as_ptr().add(LANES));
            let pairs: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
            _mm512_storeu_si512(place.as_mut_ptr().cast(), pairs);
        }
    }
    plain::paired(rest, last);
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn sums(x: &[u32], columns: &[u32], rows: usize) -> Sums {
    const REGISTERS: usize = COLUMNS / LANES;
    let mut result = [[0.0; COLUMNS]; GROUP];
    for first in (0..rows).step_by(ROWS) {
        let mut sums = [[_mm512_setzero_ps(); REGISTERS]; ROWS];
        for (x, columns) in x.as_chunks::<GROUP>().0.iter().zip(columns.as_chunks::<COLUMNS>().0) {
            let columns = columns.as_chunks::<LANES>().0;
            let columns: [__m512bh; REGISTERS] = [load(&columns[0]), load(&columns[1])];
            for (x, sums) in x[first..first + ROWS].iter().zip(&mut sums) {
                // SAFETY: a register holds 16 pairs.
                let x: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(x.cast_signed())) };
                for (sum, columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbf16_ps(*sum, x, *columns);
                }
            }
        }
        for (numbers, sums) in result[first..first + ROWS].iter_mut().zip(sums) {
            for (place, sum) in numbers.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                // SAFETY: room for 16 numbers.
                unsafe { _mm512_storeu_ps(place.as_mut_ptr(), sum) };
            }
        }
    }
    result
}

/// Computes the dot products of a row with some others, in the order of [`plain::Dots`].
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn dots<const N: usize>(x: &[u32], rows: [&[u32]; N]) -> [f32; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    let (whole, rest) = x.as_chunks::<LANES>();
    let rows = rows.map(|row| row.as_chunks::<LANES>());
    for (at, x) in whole.iter().enumerate() {
        let x = load(x);
        for (sum, (row, _)) in sums.iter_mut().zip(&rows) {
            *sum = _mm512_dpbf16_ps(*sum, x, load(&row[at]));
        }
    }
    if !rest.is_empty() {
        let x = load(&padded(rest));
        for (sum, (_, rest)) in sums.iter_mut().zip(&rows) {
            *sum = _mm512_dpbf16_ps(*sum, x, load(&padded(rest)));
        }
    }
    let mut result = [0.0; N];
    for (place, sum) in result.iter_mut().zip(sums) {
        let mut lanes = [0.0; LANES];
        // SAFETY: room for 16 numbers.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
        *place = folded(lanes);
    }
    result
}

/// Returns the pairs at the end of a row, with zeros behind them.
fn padded(rest: &[u32]) -> [u32; LANES] {
    let mut pairs = [0; LANES];
    pairs[..rest.len()].copy_from_slice(rest);
    pairs
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn load(pairs: &[u32; LANES]) -> __m512bh {
    // SAFETY: 16 pairs are read, in whichever form.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(pairs.as_ptr().cast())) }
}
