//! Weights of 16 bits: widened to f32 in registers, so that a token costs half the memory traffic of f32.
//!
//! `vdpbf16ps`, the CPU's own product of bf16, is not used: on Sapphire Rapids it was measured at 1.1 to 1.5 ns for 32
//! products, where two fused multiplications and additions of f32 take .5, and it rounds differently.

use candle_core::CpuStorage;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::Arch;

/// Numbers of 16 bits as they are stored.
#[derive(Clone, Copy)]
pub enum Halves<'a> {
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Halves<'a> {
    pub fn of(storage: &'a CpuStorage) -> Option<Self> {
        match storage {
            CpuStorage::F16(all) => Some(Self::F16(all)),
            CpuStorage::BF16(all) => Some(Self::Bf16(all)),
            _ => None,
        }
    }

    pub fn part(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::F16(all) => Self::F16(&all[range]),
            Self::Bf16(all) => Self::Bf16(&all[range]),
        }
    }

    /// Writes the numbers as f32 to `numbers`, which has as many.
    pub fn widen(self, arch: Arch, numbers: &mut [f32]) {
        match arch {
            // SAFETY: the CPU has these instructions.
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) if avx2::is_there() => unsafe { avx2::widen(self, numbers) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Arch::V4(_) if wide::is_there() => unsafe { wide::widen(self, numbers) },
            _ => match self {
                Self::F16(all) => all.convert_to_f32_slice(numbers),
                Self::Bf16(all) => all.convert_to_f32_slice(numbers),
            },
        }
    }

    /// Calls `put(row, dot product of x with it)` for whole rows; false if the CPU cannot, or rows are of another length
    /// than the instructions take. The products have the bits of [`crate::linear::dots`] with the rows in f32.
    pub fn dot(self, arch: Arch, x: &[f32], put: impl FnMut(usize, f32)) -> bool {
        match arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => avx2::dot(simd, self, x, put),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Arch::V4(simd) => wide::dot(simd, self, x, put),
            _ => {
                let _ = (x, put);
                false
            }
        }
    }
}

/// A module that widens numbers in registers of one size.
#[cfg(target_arch = "x86_64")]
macro_rules! widening {
    (
        $name:ident, $features:literal, $level:ident, $lanes:literal of $register:ident from $bits:ident:
        $load_bits:ident $of_f16:ident $widened:ident $shifted:ident $as_numbers:ident
        $nothing:ident $load:ident $plus_product:ident $plus:ident $store:ident,
        there: $($feature:tt)*
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use pulp::{Simd, x86::$level};

            use super::{Halves, bf16, f16};

            /// Numbers of a row that are added in parallel sums, as many as [`crate::linear::dots`] has and in its order.
            const ROUND: usize = 8 * $lanes;
            /// Bytes that are prefetched ahead: some rows.
            const AHEAD: usize = 4096;

            pub fn is_there() -> bool {
                $($feature)*
            }

            #[target_feature(enable = $features)]
            fn of_f16(bits: $bits) -> $register {
                $of_f16(bits)
            }

            #[target_feature(enable = $features)]
            fn of_bf16(bits: $bits) -> $register {
                $as_numbers($shifted::<16>($widened(bits)))
            }

            #[target_feature(enable = $features)]
            pub fn widen(halves: Halves, numbers: &mut [f32]) {
                macro_rules! widened {
                    ($all:expr, $wide:ident) => {{
                        let (parts, rest) = $all.as_chunks::<$lanes>();
                        let (places, last) = numbers.as_chunks_mut::<$lanes>();
                        for (place, part) in places.iter_mut().zip(parts) {
                            // SAFETY: as many numbers of 16 bits as a register has are read, and written.
                            unsafe {
                                let bits = $load_bits(part.as_ptr().cast());
                                $store(place.as_mut_ptr(), $wide(bits));
                            }
                        }
                        for (place, number) in last.iter_mut().zip(rest) {
                            *place = number.to_f32();
                        }
                    }};
                }
                match halves {
                    Halves::F16(all) => widened!(all, of_f16),
                    Halves::Bf16(all) => widened!(all, of_bf16),
                }
            }

            pub fn dot(simd: $level, halves: Halves, x: &[f32], mut put: impl FnMut(usize, f32)) -> bool {
                if x.is_empty() || !x.len().is_multiple_of(ROUND) || !is_there() {
                    return false;
                }
                // SAFETY: the CPU has these instructions, and the rows are as long as x.
                match halves {
                    Halves::F16(all) => {
                        let rows = all.chunks_exact(x.len()).enumerate();
                        rows.for_each(|(at, row)| put(at, unsafe { f16_product(simd, row, x) }));
                    }
                    Halves::Bf16(all) => {
                        let rows = all.chunks_exact(x.len()).enumerate();
                        rows.for_each(|(at, row)| put(at, unsafe { bf16_product(simd, row, x) }));
                    }
                }
                true
            }

            macro_rules! product {
                ($product:ident, $number:ty, $wide:ident) => {
                    #[target_feature(enable = $features)]
                    fn $product(simd: $level, row: &[$number], x: &[f32]) -> f32 {
                        let mut sums = [$nothing(); 8];
                        for (row, x) in row.as_chunks::<ROUND>().0.iter().zip(x.as_chunks::<ROUND>().0) {
                            let ahead = row.as_ptr().cast::<i8>().wrapping_add(AHEAD);
                            for line in (0..2 * ROUND).step_by(64) {
                                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line));
                            }
                            for (at, sum) in sums.iter_mut().enumerate() {
                                // SAFETY: both have 8 times as many numbers as a register.
                                let (bits, x) = unsafe {
                                    (
                                        $load_bits(row.as_ptr().add($lanes * at).cast()),
                                        $load(x.as_ptr().add($lanes * at)),
                                    )
                                };
                                *sum = $plus_product(x, $wide(bits), *sum);
                            }
                        }
                        let mut total = sums[0];
                        for more in &sums[1..] {
                            total = $plus(total, *more);
                        }
                        simd.reduce_sum_f32s(pulp::cast(total))
                    }
                };
            }
            product!(f16_product, f16, of_f16);
            product!(bf16_product, bf16, of_bf16);
        }
    };
}

#[cfg(target_arch = "x86_64")]
widening! {
    avx2, "avx2,fma,f16c", V3, 8 of __m256 from __m128i:
    _mm_loadu_si128 _mm256_cvtph_ps _mm256_cvtepu16_epi32 _mm256_slli_epi32 _mm256_castsi256_ps
    _mm256_setzero_ps _mm256_loadu_ps _mm256_fmadd_ps _mm256_add_ps _mm256_storeu_ps,
    there: is_x86_feature_detected!("f16c")
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
widening! {
    wide, "avx512f", V4, 16 of __m512 from __m256i:
    _mm256_loadu_si256 _mm512_cvtph_ps _mm512_cvtepu16_epi32 _mm512_slli_epi32 _mm512_castsi512_ps
    _mm512_setzero_ps _mm512_loadu_ps _mm512_fmadd_ps _mm512_add_ps _mm512_storeu_ps,
    there: is_x86_feature_detected!("avx512f")
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use crate::tests::{at_every_level, list, numbers};

    /// Checks that a product with weights of 16 bits has the bits of a product with these weights in f32, for every
    /// length and number of rows.
    #[test]
    fn products_have_the_bits_of_the_same_weights_in_f32() {
        for dtype in [DType::F16, DType::BF16] {
            for (rows, inner, out) in
                [(1, 128, 3), (1, 256, 70), (1, 1536, 40), (1, 100, 9), (1, 1, 1), (3, 256, 33), (40, 96, 50)]
            {
                let halves = numbers(&[out, inner], 2.0, 1).to_dtype(dtype).unwrap();
                let wide = halves.to_dtype(DType::F32).unwrap();
                let x = numbers(&[rows, inner], 2.0, 2);
                at_every_level(|| {
                    let found = list(&crate::linear::linear(&x, &halves, None).unwrap());
                    let expected = list(&crate::linear::linear(&x, &wide, None).unwrap());
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same && found.len() == rows * out, "{dtype:?} {rows} x {inner} x {out}");
                });
            }
        }
    }

    /// Checks every number of 16 bits, NaN and the infinities included.
    #[test]
    fn every_number_is_widened_as_it_is() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let f16s: Vec<half::f16> = all.iter().map(|bits| half::f16::from_bits(*bits)).collect();
        let bf16s: Vec<half::bf16> = all.iter().map(|bits| half::bf16::from_bits(*bits)).collect();
        at_every_level(|| {
            let mut found = vec![0.0; all.len()];
            super::Halves::F16(&f16s).widen(crate::base::instructions::arch(), &mut found);
            let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(found.iter().zip(&f16s).all(|(found, half)| same(*found, half.to_f32())));
            super::Halves::Bf16(&bf16s).widen(crate::base::instructions::arch(), &mut found);
            assert!(found.iter().zip(&bf16s).all(|(found, half)| same(*found, half.to_f32())));
        });
    }
}
