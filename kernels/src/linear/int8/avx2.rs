//! Dot products by AVX2, straight from the blocks, which are read once and in order: products of bytes are added in integers of 16
//! bits, two at a time, and these in 32.

use std::arch::x86_64::*;

use pulp::Arch;

use super::form::ORDER;
use super::rows::Row;
use super::{CHUNK, FEW, FOLDED, GROUPS, LANES, SUMS};
use crate::linear::packed::Packing;
use crate::linear::packed::avx2::{fifths, groups, half, load, load_16, nibbles, q6_k_scales};

/// Registers of sums of a round, and the numbers of one.
const REGISTERS: usize = SUMS * LANES / 8;
const NUMBERS: usize = CHUNK * SUMS / REGISTERS;
/// Bytes that are prefetched ahead: some rows.
const AHEAD: usize = 4096;

/// Returns whether the CPU has the instructions, and no better ones are used.
pub(super) fn is_there(arch: Arch) -> bool {
    matches!(arch, Arch::V3(_)) && is_x86_feature_detected!("f16c")
}

/// Computes the dot products of up to [`FEW`] rows of x with up to four rows of blocks of so many bytes, 0 for those that there
/// are not.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dots(packing: Packing, blocks: &[u8], row: usize, x: &[Row]) -> [[f32; FOLDED]; FEW] {
    let mut found = [[0.0; FOLDED]; FEW];
    match x.len() {
        1 => found[..1].copy_from_slice(&together::<1>(packing, blocks, row, x)),
        2 => found[..2].copy_from_slice(&together::<2>(packing, blocks, row, x)),
        3 => found[..3].copy_from_slice(&together::<3>(packing, blocks, row, x)),
        _ => found.copy_from_slice(&together::<FEW>(packing, blocks, row, x)),
    }
    found
}

/// Computes the dot products of the first R rows of x with up to four rows of blocks, 0 for those that there are not.
#[target_feature(enable = "avx2,fma,f16c")]
fn together<const R: usize>(packing: Packing, blocks: &[u8], row: usize, x: &[Row]) -> [[f32; FOLDED]; R] {
    let mut found = [[0.0; FOLDED]; R];
    let Some(x) = x.first_chunk::<R>() else { return found };
    let mut all = [RowSums::<R>::zeros(); FOLDED];
    // One after the other, so that memory is read in order.
    for (sums, blocks) in all.iter_mut().zip(blocks.chunks_exact(row)) {
        *sums = summed(packing, blocks, x);
    }
    for (of_x, found) in found.iter_mut().enumerate() {
        let mut chunks = [_mm_setzero_ps(); FOLDED];
        let mut least = [_mm_setzero_ps(); FOLDED];
        for ((chunks, least), sums) in chunks.iter_mut().zip(&mut least).zip(&all) {
            let [a, b, c, d] = sums.parts[of_x];
            *chunks = halved(_mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d)));
            *least = halved(sums.least[of_x]);
        }
        // SAFETY: room for four numbers.
        unsafe { _mm_storeu_ps(found.as_mut_ptr(), _mm_sub_ps(folded(chunks), folded(least))) };
    }
    found
}

/// Adds the second half of a register to the first.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn halved(x: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x))
}

/// Returns the sums of four times four lanes, in the order of [`super::plain`]: the second half of the lanes is added to the
/// first until one is left.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn folded([a, b, c, d]: [__m128; FOLDED]) -> __m128 {
    let first = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    let second = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    let even = _mm_shuffle_ps::<0b10_00_10_00>(first, second);
    let odd = _mm_shuffle_ps::<0b11_01_11_01>(first, second);
    _mm_add_ps(even, odd)
}

/// Adds the products of four bytes each, of which those of the weights have at most seven bits, so that two products fit 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn plus_products(sums: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, x);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Adds the products of four bytes each, both with a sign, which goes over from the weights to x; no x is -128.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn plus_signed_products(sums: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    plus_products(sums, _mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights))
}

/// The integers of a round, 32 in a register.
#[derive(Clone, Copy)]
enum Integers {
    /// Integers from 0 on, of at most seven bits.
    Lifted([__m256i; REGISTERS]),
    /// Integers with a sign, as they are stored.
    Signed([__m256i; REGISTERS]),
}

/// The sums of one row of blocks with R rows of x.
#[derive(Clone, Copy)]
struct RowSums<const R: usize> {
    parts: [[__m256; REGISTERS]; R],
    least: [__m256; R],
}

impl<const R: usize> RowSums<R> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zeros() -> Self {
        Self { parts: [[_mm256_setzero_ps(); REGISTERS]; R], least: [_mm256_setzero_ps(); R] }
    }

    /// Adds the products of a round of 128 numbers, of which `scales` has the scale of each for one row of x.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn add(&mut self, x: &[Row; R], at: usize, integers: Integers, scales: impl Fn(&Row) -> [__m256; REGISTERS]) {
        for (sums, x) in self.parts.iter_mut().zip(x) {
            let scales = scales(x);
            let chunks = &x.chunks.as_chunks::<SUMS>().0[at];
            for (part, sum) in sums.iter_mut().enumerate() {
                let chunk = &chunks[part / 2];
                let begin = part % 2;
                // SAFETY: a chunk has twice as many integers, and twice as many starts, as a register.
                let (own, starts) = unsafe {
                    (
                        _mm256_loadu_si256(chunk.integers.as_ptr().add(NUMBERS * begin).cast()),
                        _mm256_loadu_si256(chunk.starts.as_ptr().add(8 * begin).cast()),
                    )
                };
                let products = match integers {
                    Integers::Lifted(all) => plus_products(starts, all[part], own),
                    Integers::Signed(all) => plus_signed_products(_mm256_setzero_si256(), all[part], own),
                };
                *sum = _mm256_add_ps(*sum, _mm256_mul_ps(_mm256_cvtepi32_ps(products), scales[part]));
            }
        }
    }

    /// Adds the products of the least numbers of a block's groups.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_least(&mut self, x: &[Row; R], at: usize, of_groups: __m256) {
        for (least, x) in self.least.iter_mut().zip(x) {
            let sums = &x.sums.as_chunks::<GROUPS>().0[at];
            // SAFETY: eight numbers, which may have any address.
            let sums = unsafe { _mm256_loadu_ps(sums.as_ptr()) };
            *least = _mm256_add_ps(*least, _mm256_mul_ps(of_groups, sums));
        }
    }
}

/// Adds up the products of one row of blocks.
#[target_feature(enable = "avx2,fma,f16c")]
fn summed<const R: usize>(packing: Packing, blocks: &[u8], x: &[Row; R]) -> RowSums<R> {
    let mut sums = RowSums::zeros();
    let ahead = blocks.as_ptr().wrapping_add(AHEAD);
    for line in (0..blocks.len()).step_by(64) {
        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line).cast());
    }
    // Four blocks at a time; those that there are not are 0.
    macro_rules! small {
        ($bytes:literal, $integers:path) => {{
            let mut add = |at: usize, round: &[u8; 4 * $bytes]| {
                let scales = |x: &Row| {
                    let mut all = [_mm256_setzero_ps(); REGISTERS];
                    for (block, (scale, step)) in all.iter_mut().zip(&x.steps[REGISTERS * at..]).enumerate() {
                        *scale = _mm256_set1_ps(half(round, block * $bytes) * step);
                    }
                    all
                };
                sums.add(x, at, $integers(round), scales);
            };
            let (rounds, rest) = blocks.as_chunks::<{ 4 * $bytes }>();
            for (at, round) in rounds.iter().enumerate() {
                add(at, round);
            }
            if !rest.is_empty() {
                let mut round = [0; 4 * $bytes];
                round[..rest.len()].copy_from_slice(rest);
                add(rounds.len(), &round);
            }
        }};
    }
    macro_rules! large {
        ($bytes:literal, $integers:path) => {{
            for (at, block) in blocks.as_chunks::<$bytes>().0.iter().enumerate() {
                let of_groups = groups(block);
                for part in 0..2 {
                    let scales = |x: &Row| {
                        let mut all = [_mm256_setzero_ps(); REGISTERS];
                        for (scale, group) in all.iter_mut().zip(&ORDER[REGISTERS * part..]) {
                            *scale = _mm256_set1_ps(of_groups[*group] * x.steps[at]);
                        }
                        all
                    };
                    sums.add(x, 2 * at + part, $integers(block, part), scales);
                }
                let mut least = [0.0; GROUPS];
                for (least, group) in least.iter_mut().zip(ORDER) {
                    *least = of_groups[GROUPS + group];
                }
                // SAFETY: eight numbers.
                sums.add_least(x, at, unsafe { _mm256_loadu_ps(least.as_ptr()) });
            }
        }};
    }
    match packing {
        Packing::Q4_0 => small!(18, q4_0),
        Packing::Q5_0 => small!(22, q5_0),
        Packing::Q8_0 => small!(34, q8_0),
        Packing::Q4K => large!(144, q4_k),
        Packing::Q5K => large!(176, q5_k),
        Packing::Q6K => {
            for (at, block) in blocks.as_chunks::<210>().0.iter().enumerate() {
                let of_parts = q6_k_scales(block);
                for part in 0..2 {
                    let scales = |x: &Row| {
                        let mut all = [_mm256_setzero_ps(); REGISTERS];
                        for (scale, of_parts) in all.iter_mut().zip(of_parts[8 * part..].as_chunks().0) {
                            let [low, high] = of_parts.map(|scale: f32| scale * x.steps[at]);
                            *scale = _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low));
                        }
                        all
                    };
                    sums.add(x, 2 * at + part, q6_k(block, part), scales);
                }
            }
        }
        Packing::Q4_1 | Packing::Q5_1 | Packing::Bf16 => {}
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn q4_0(round: &[u8; 72]) -> Integers {
    let mut all = [_mm256_setzero_si256(); REGISTERS];
    for (block, integers) in all.iter_mut().enumerate() {
        *integers = nibbles(load_16(round, 18 * block + 2));
    }
    Integers::Lifted(all)
}

#[inline]
#[target_feature(enable = "avx2")]
fn q5_0(round: &[u8; 88]) -> Integers {
    let mut all = [_mm256_setzero_si256(); REGISTERS];
    for (integers, block) in all.iter_mut().zip(round.as_chunks::<22>().0) {
        *integers = _mm256_or_si256(nibbles(load_16(block, 6)), fifths(&block[2..6]));
    }
    Integers::Lifted(all)
}

#[inline]
#[target_feature(enable = "avx2")]
fn q8_0(round: &[u8; 136]) -> Integers {
    let mut all = [_mm256_setzero_si256(); REGISTERS];
    for (block, integers) in all.iter_mut().enumerate() {
        *integers = load(round, 34 * block + 2);
    }
    Integers::Signed(all)
}

/// Returns the lower halves of the bytes of two registers, and then the upper ones.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(bytes: [__m256i; 2]) -> [__m256i; REGISTERS] {
    let fifteen = _mm256_set1_epi8(15);
    let [first, second] = bytes;
    [
        _mm256_and_si256(first, fifteen),
        _mm256_and_si256(second, fifteen),
        _mm256_and_si256(_mm256_srli_epi16::<4>(first), fifteen),
        _mm256_and_si256(_mm256_srli_epi16::<4>(second), fifteen),
    ]
}

/// Loads 64 bytes from a place of a block on.
#[inline]
#[target_feature(enable = "avx2")]
fn load_line(block: &[u8], at: usize) -> [__m256i; 2] {
    [load(block, at), load(block, at + 32)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn q4_k(block: &[u8; 144], part: usize) -> Integers {
    Integers::Lifted(halves(load_line(block, 16 + 64 * part)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn q5_k(block: &[u8; 176], part: usize) -> Integers {
    let fifths = load(block, 16);
    let mut all = halves(load_line(block, 48 + 64 * part));
    for (integers, group) in all.iter_mut().zip(&ORDER[REGISTERS * part..]) {
        // Bit g of a byte belongs to a number of group g.
        let bit = _mm256_set1_epi8((1_u8 << group).cast_signed());
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(fifths, bit), bit);
        *integers = _mm256_or_si256(*integers, _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }
    Integers::Lifted(all)
}

#[inline]
#[target_feature(enable = "avx2")]
fn q6_k(block: &[u8; 210], part: usize) -> Integers {
    let twos = load(block, 128 + 32 * part);
    let upper = [_mm256_slli_epi16::<4>(twos), _mm256_slli_epi16::<2>(twos), twos, _mm256_srli_epi16::<2>(twos)];
    let mut all = halves(load_line(block, 64 * part));
    for (integers, upper) in all.iter_mut().zip(upper) {
        *integers = _mm256_or_si256(*integers, _mm256_and_si256(upper, _mm256_set1_epi8(0x30)));
    }
    Integers::Lifted(all)
}
