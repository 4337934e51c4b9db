//! Packed numbers by AVX-512: four or five bits choose among the numbers of a group, which are computed once.
//!
//! A table has the bits that [`super::blocks`] computes, since every number of a group is the same operations on one of 16 or 32
//! integers.

use std::arch::x86_64::*;
use std::hint::black_box;

use pulp::{Simd, x86::V4};

use super::Packing;
use super::avx2::{self, half, load, load_16, nibbles, q6_k_scales};
use super::registers::by_registers;

/// Returns whether the CPU has the instructions.
fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("f16c")
}

by_registers!(
    "avx512f,avx512bw,avx512vl,f16c", V4, 16 of __m512:
    _mm512_setzero_ps _mm512_loadu_ps _mm512_fmadd_ps _mm512_add_ps _mm512_storeu_ps
);

/// Returns 0 to 15.
#[target_feature(enable = "avx512f")]
fn integers() -> __m512 {
    _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.)
}

/// Calls `take` with both registers of a block of 32 numbers.
#[target_feature(enable = "avx512f")]
fn both([first, second]: [__m512; 2], mut take: impl FnMut(usize, __m512)) {
    take(0, first);
    take(1, second);
}

/// Returns the numbers of 16 bytes of two each: of the lower halves, and of the upper ones.
#[target_feature(enable = "avx512f")]
fn halves(bytes: __m128i, low: __m512, high: __m512) -> [__m512; 2] {
    let both = _mm512_cvtepu8_epi32(bytes);
    // Of an index, the instruction reads the lowest four bits.
    [_mm512_permutexvar_ps(both, low), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(both), high)]
}

#[target_feature(enable = "avx512f")]
fn bf16(bytes: &[u8; 2 * LANES], mut take: impl FnMut(usize, __m512)) {
    let bits = _mm512_cvtepu16_epi32(load(bytes, 0));
    take(0, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)));
}

#[target_feature(enable = "avx512f,f16c")]
fn q4_0(block: &[u8; 18], take: impl FnMut(usize, __m512)) {
    let table = _mm512_mul_ps(_mm512_sub_ps(integers(), _mm512_set1_ps(8.0)), _mm512_set1_ps(half(block, 0)));
    both(halves(load_16(block, 2), table, table), take);
}

#[target_feature(enable = "avx512f,f16c")]
fn q4_1(block: &[u8; 20], take: impl FnMut(usize, __m512)) {
    let table = _mm512_mul_ps(integers(), _mm512_set1_ps(half(block, 0)));
    let table = _mm512_add_ps(table, _mm512_set1_ps(half(block, 2)));
    both(halves(load_16(block, 4), table, table), take);
}

/// Returns 32 numbers, which five bits of each byte choose from two tables.
#[target_feature(enable = "avx512f,avx512vl")]
fn chosen(fives: __m256i, [first, second]: [__m512; 2]) -> [__m512; 2] {
    let parts = [_mm256_castsi256_si128(fives), _mm256_extracti128_si256::<1>(fives)];
    parts.map(|part| _mm512_permutex2var_ps(first, _mm512_cvtepu8_epi32(part), second))
}

/// Returns the five bits of 32 numbers: four in half a byte each, first all lower halves, and one in `bits`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn fives(bytes: __m128i, bits: &[u8]) -> __m256i {
    let bits = u32::from_le_bytes(bits.as_chunks::<4>().0[0]);
    _mm256_or_si256(nibbles(bytes), _mm256_maskz_set1_epi8(bits, 16))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_0(block: &[u8; 22], take: impl FnMut(usize, __m512)) {
    let scale = _mm512_set1_ps(half(block, 0));
    let table = |least: f32| _mm512_mul_ps(_mm512_add_ps(integers(), _mm512_set1_ps(least)), scale);
    both(chosen(fives(load_16(block, 6), &block[2..6]), [table(-16.0), table(0.0)]), take);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_1(block: &[u8; 24], take: impl FnMut(usize, __m512)) {
    let scale = _mm512_set1_ps(half(block, 0));
    let least = _mm512_set1_ps(half(block, 2));
    let table = |from: f32| {
        let integers = _mm512_add_ps(integers(), _mm512_set1_ps(from));
        _mm512_add_ps(_mm512_mul_ps(integers, scale), least)
    };
    both(chosen(fives(load_16(block, 8), &block[4..8]), [table(0.0), table(16.0)]), take);
}

#[target_feature(enable = "avx512f,f16c")]
fn q8_0(block: &[u8; 34], mut take: impl FnMut(usize, __m512)) {
    let scale = _mm512_set1_ps(half(block, 0));
    for part in 0..2 {
        let integers = _mm512_cvtepi8_epi32(load_16(block, 2 + LANES * part));
        take(part, _mm512_mul_ps(_mm512_cvtepi32_ps(integers), scale));
    }
}

/// Returns the scales of eight groups, and then their least numbers: six bits each in twelve bytes, times those of the
/// block. All are computed in vectors, since numbers that cross over from the scalar side take the port that the tables
/// need.
#[target_feature(enable = "avx512f,avx512vl,f16c")]
fn of_groups(block: &[u8]) -> [f32; 16] {
    let mut list = [0.0; 16];
    // SAFETY: room for 16 numbers.
    unsafe { _mm512_storeu_ps(list.as_mut_ptr(), groups(block)) };
    list
}

/// Returns the numbers of [`of_groups`] in a register.
#[target_feature(enable = "avx512f,avx512vl,f16c")]
pub(in crate::linear) fn groups(block: &[u8]) -> __m512 {
    // SAFETY: a block has more than 8 bytes.
    let of_block = unsafe { _mm_cvtph_ps(_mm_loadl_epi64(block.as_ptr().cast())) };
    let own = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(avx2::of_groups(block)));
    let which = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    _mm512_mul_ps(own, _mm512_permutexvar_ps(which, _mm512_castps128_ps512(of_block)))
}

/// Returns a group's numbers for the integers from `from` on. A scale has at most 17 bits, 11 of its block's and 6 of
/// its own, and an integer 5: their product is exact, so that fusing it with the subtraction changes no bit.
#[target_feature(enable = "avx512f")]
fn table(from: f32, scale: f32, least: f32) -> __m512 {
    let integers = _mm512_add_ps(integers(), _mm512_set1_ps(from));
    _mm512_fmsub_ps(_mm512_set1_ps(scale), integers, _mm512_set1_ps(least))
}

#[target_feature(enable = "avx512f,avx512vl,f16c")]
fn q4_k(block: &[u8; 144], mut take: impl FnMut(usize, __m512)) {
    // Behind an address that the compiler knows nothing of, so that each number is spread by its load, not by shuffles, which
    // the tables need all time for.
    let groups = of_groups(block);
    let groups = black_box(&groups);
    for pair in 0..4 {
        let of = |group: usize| table(0.0, groups[group], groups[8 + group]);
        let low = of(2 * pair);
        let high = of(2 * pair + 1);
        for half in 0..2 {
            let found = halves(load_16(block, 16 + 32 * pair + 16 * half), low, high);
            take(4 * pair + half, found[0]);
            take(4 * pair + 2 + half, found[1]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_k(block: &[u8; 176], mut take: impl FnMut(usize, __m512)) {
    let groups = of_groups(block);
    let groups = black_box(&groups);
    let mut bits = load(block, 16);
    let fifteen = _mm256_set1_epi8(15);
    let sixteen = _mm256_set1_epi8(16);
    for pair in 0..4 {
        let of = |group: usize| [0.0, 16.0].map(|from| table(from, groups[group], groups[8 + group]));
        let both = load(block, 48 + 32 * pair);
        // The two lowest bits of every byte belong to this pair; shifts of 16 bits bring in others, which are masked.
        let low = _mm256_and_si256(_mm256_slli_epi16::<4>(bits), sixteen);
        let high = _mm256_and_si256(_mm256_slli_epi16::<3>(bits), sixteen);
        bits = _mm256_srli_epi16::<2>(bits);
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
        let low = chosen(_mm256_or_si256(_mm256_and_si256(both, fifteen), low), of(2 * pair));
        let high = chosen(_mm256_or_si256(upper, high), of(2 * pair + 1));
        for half in 0..2 {
            take(4 * pair + half, low[half]);
            take(4 * pair + 2 + half, high[half]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q6_k(block: &[u8; 210], mut take: impl FnMut(usize, __m512)) {
    let scales = q6_k_scales(block);
    let scales = black_box(&scales);
    let fifteen = _mm256_set1_epi8(15);
    let upper = _mm256_set1_epi8(0x30);
    for part in 0..2 {
        let low = [load(block, 64 * part), load(block, 64 * part + 32)];
        let high = load(block, 128 + 32 * part);
        let fours = [low[0], low[1], _mm256_srli_epi16::<4>(low[0]), _mm256_srli_epi16::<4>(low[1])];
        let twos = [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high), high, _mm256_srli_epi16::<2>(high)];
        for quarter in 0..4 {
            let six =
                _mm256_or_si256(_mm256_and_si256(fours[quarter], fifteen), _mm256_and_si256(twos[quarter], upper));
            let signed = _mm256_sub_epi8(six, _mm256_set1_epi8(32));
            let parts = [_mm256_castsi256_si128(signed), _mm256_extracti128_si256::<1>(signed)];
            for (at, bytes) in parts.into_iter().enumerate() {
                let chunk = 8 * part + 2 * quarter + at;
                let integers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
                take(chunk, _mm512_mul_ps(_mm512_set1_ps(scales[chunk]), integers));
            }
        }
    }
}
