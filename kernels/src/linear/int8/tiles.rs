//! Sums of tiles by the CPU's own products of bytes, in registers of AVX-512, of AVX-VNNI or of AVX2, and dot products by the second.

use std::arch::x86_64::*;

use pulp::Arch;

use super::avx2::{plus_products, plus_signed_products};
use super::form::Form;
use super::plain::Dot;
use super::rows::{Row, RowBlock};
use super::weights::{Strip, WeightRow};
use super::{COLUMNS, QUAD, ROWS, Sums};

/// Returns whether the CPU has the instructions of registers of 256 bits.
pub(super) fn are_there(arch: Arch) -> bool {
    !matches!(arch, Arch::Scalar)
        && is_x86_feature_detected!("avxvnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// Computes a dot product.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn dot(x: &Row, weight: &WeightRow, form: Form) -> f32 {
    Dot { x, weight, form }.by(|x, weights| {
        let mut sums = x.starts;
        let bytes = x.integers.as_chunks::<32>().0.iter().zip(weights.as_chunks::<32>().0);
        for (sums, (x, weights)) in sums.as_chunks_mut::<8>().0.iter_mut().zip(bytes) {
            // SAFETY: 32 bytes each, and eight integers.
            unsafe {
                let x = _mm256_loadu_si256(x.as_ptr().cast());
                let weights = _mm256_loadu_si256(weights.as_ptr().cast());
                let sum = _mm256_dpbusd_avx_epi32(_mm256_loadu_si256(sums.as_ptr().cast()), weights, x);
                _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum);
            }
        }
        sums
    })
}

/// A function that computes the sums of a block of rows with some columns, so many registers of them at a time.
macro_rules! sums {
    (
        $name:ident, $features:literal, $registers:literal registers of $lanes:literal:
        $start:ident $load:ident $spread:ident $products:ident $number:ident
        $nothing:ident $load_numbers:ident $spread_number:ident
        $times:ident $plus_product:ident $less_product:ident $store:ident
    ) => {
        #[target_feature(enable = $features)]
        pub(super) fn $name(x: &RowBlock, strip: &Strip, form: Form) -> Sums {
            let quads = form.group / QUAD;
            let columns = strip.quads.as_chunks::<COLUMNS>().0;
            let scales = strip.scales.as_chunks::<COLUMNS>().0;
            let least = strip.least.as_chunks::<COLUMNS>().0;
            let mut result = [[0.0; COLUMNS]; ROWS];
            for begin in (0..COLUMNS).step_by($registers * $lanes) {
                let mut sums = [[$nothing(); $registers]; ROWS];
                for (at, group) in x.groups.iter().enumerate() {
                    let mut integers = [[$spread(0); $registers]; ROWS];
                    for (integers, start) in integers.iter_mut().zip(&group.starts) {
                        *integers = [$spread($start(*start)); $registers];
                    }
                    let part = at * quads..(at + 1) * quads;
                    for (x, columns) in x.quads[part.clone()].iter().zip(&columns[part]) {
                        let mut weights = [$spread(0); $registers];
                        for (weights, columns) in weights.iter_mut().zip(columns[begin..].as_chunks::<$lanes>().0) {
                            // SAFETY: four integers of as many columns as a register has.
                            *weights = unsafe { $load(columns.as_ptr().cast()) };
                        }
                        for (integers, x) in integers.iter_mut().zip(x) {
                            let x = $spread(*x);
                            for (sum, weights) in integers.iter_mut().zip(&weights) {
                                *sum = $products(*sum, *weights, x);
                            }
                        }
                    }
                    for register in 0..$registers {
                        let place = begin + register * $lanes;
                        let of_columns = |numbers: &[[f32; COLUMNS]]| {
                            let numbers: &[f32; $lanes] = &numbers[at][place..].as_chunks().0[0];
                            // SAFETY: as many numbers as a register has.
                            unsafe { $load_numbers(numbers.as_ptr()) }
                        };
                        let scales = of_columns(scales);
                        for ((sums, integers), step) in sums.iter_mut().zip(&integers).zip(&group.steps) {
                            let scaled = $times($number(integers[register]), scales);
                            sums[register] = $plus_product(scaled, $spread_number(*step), sums[register]);
                        }
                        if form.has_least {
                            let least = of_columns(least);
                            for (sums, of_group) in sums.iter_mut().zip(&group.sums) {
                                sums[register] = $less_product(least, $spread_number(*of_group), sums[register]);
                            }
                        }
                    }
                }
                for (numbers, sums) in result.iter_mut().zip(sums) {
                    for (place, sum) in numbers[begin..].as_chunks_mut::<$lanes>().0.iter_mut().zip(sums) {
                        // SAFETY: room for as many numbers as a register has.
                        unsafe { $store(place.as_mut_ptr(), sum) };
                    }
                }
            }
            result
        }
    };
}

#[cfg(feature = "avx512")]
sums! {
    by_512_bits, "avx512f,avx512bw,avx512vl,avx512vnni", 2 registers of 16:
    own_start _mm512_loadu_si512 _mm512_set1_epi32 _mm512_dpbusd_epi32 _mm512_cvtepi32_ps
    _mm512_setzero_ps _mm512_loadu_ps _mm512_set1_ps _mm512_mul_ps _mm512_fmadd_ps _mm512_fnmadd_ps _mm512_storeu_ps
}

sums! {
    by_256_bits, "avx2,fma,avxvnni", 1 registers of 8:
    own_start _mm256_loadu_si256 _mm256_set1_epi32 _mm256_dpbusd_avx_epi32 _mm256_cvtepi32_ps
    _mm256_setzero_ps _mm256_loadu_ps _mm256_set1_ps _mm256_mul_ps _mm256_fmadd_ps _mm256_fnmadd_ps _mm256_storeu_ps
}

sums! {
    of_seven_bits, "avx2,fma", 1 registers of 8:
    own_start _mm256_loadu_si256 _mm256_set1_epi32 plus_products _mm256_cvtepi32_ps
    _mm256_setzero_ps _mm256_loadu_ps _mm256_set1_ps _mm256_mul_ps _mm256_fmadd_ps _mm256_fnmadd_ps _mm256_storeu_ps
}

sums! {
    of_eight_bits, "avx2,fma", 1 registers of 8:
    no_start _mm256_loadu_si256 _mm256_set1_epi32 plus_lifted_products _mm256_cvtepi32_ps
    _mm256_setzero_ps _mm256_loadu_ps _mm256_set1_ps _mm256_mul_ps _mm256_fmadd_ps _mm256_fnmadd_ps _mm256_storeu_ps
}

/// Computes the sums by AVX2 alone, whose sums of two products have 16 bits.
#[target_feature(enable = "avx2,fma")]
pub(super) fn by_avx2(x: &RowBlock, strip: &Strip, form: Form) -> Sums {
    if form.zero == LIFTED { of_eight_bits(x, strip, form) } else { of_seven_bits(x, strip, form) }
}

/// The integer that stands for 0 where integers have eight bits.
const LIFTED: i32 = 128;

/// Adds the products of four bytes each, of which those of the weights are [`LIFTED`], as if they were not.
#[inline]
#[target_feature(enable = "avx2")]
fn plus_lifted_products(sums: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    plus_signed_products(sums, _mm256_xor_si256(weights, _mm256_set1_epi8(-128)), x)
}

/// Returns the beginning of a sum, where products have the integers of the strip.
fn own_start(start: i32) -> i32 {
    start
}

/// Returns the beginning of a sum of integers that are not lifted.
fn no_start(_: i32) -> i32 {
    0
}
