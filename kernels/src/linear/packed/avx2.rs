//! Packed numbers by AVX2: integers become f32 in registers, by the operations of [`super::blocks`], whose bits they have.

use std::arch::x86_64::*;
use std::hint::black_box;

use pulp::{Simd, x86::V3};

use super::Packing;
use super::registers::by_registers;

/// Returns whether the CPU has the instructions that [`V3`] does not promise.
fn is_there() -> bool {
    is_x86_feature_detected!("f16c")
}

by_registers!(
    "avx2,fma,f16c", V3, 8 of __m256:
    _mm256_setzero_ps _mm256_loadu_ps _mm256_fmadd_ps _mm256_add_ps _mm256_storeu_ps
);

/// Returns the half-precision number at this place.
#[inline]
#[target_feature(enable = "f16c")]
pub(in crate::linear) fn half(block: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// Loads 16 bytes from a place of a block on.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::linear) fn load_16(block: &[u8], at: usize) -> __m128i {
    let bytes: &[u8; 16] = &block[at..].as_chunks().0[0];
    // SAFETY: 16 bytes, which may have any address.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Loads 32 bytes from a place of a block on.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::linear) fn load(block: &[u8], at: usize) -> __m256i {
    let bytes: &[u8; 32] = &block[at..].as_chunks().0[0];
    // SAFETY: 32 bytes, which may have any address.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Returns the scales of eight groups, and then their least numbers, six bits each in twelve bytes, as bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::linear) fn of_groups(block: &[u8]) -> __m128i {
    let words = load_16(block, 4);
    // Words 0 and 1 have six bits of groups 0 to 3 in each byte, and above them two bits of groups 4 to 7, whose other four
    // are in the halves of word 2.
    let lower = _mm_shuffle_epi32::<0b10_01_10_00>(words);
    let lower = _mm_srlv_epi32(lower, _mm_setr_epi32(0, 0, 0, 4));
    let lower = _mm_and_si128(lower, _mm_setr_epi32(0x3f3f_3f3f, 0x0f0f_0f0f, 0x3f3f_3f3f, 0x0f0f_0f0f));
    let upper = _mm_srli_epi32::<2>(_mm_shuffle_epi32::<0b01_01_00_00>(words));
    let upper = _mm_and_si128(upper, _mm_setr_epi32(0, 0x3030_3030, 0, 0x3030_3030));
    _mm_or_si128(lower, upper)
}

/// Returns the lower halves of 16 bytes, then the upper ones.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::linear) fn nibbles(bytes: __m128i) -> __m256i {
    let high = _mm_srli_epi16::<4>(bytes);
    _mm256_and_si256(_mm256_set_m128i(high, bytes), _mm256_set1_epi8(15))
}

/// Returns 16 in the bytes whose bit is set, and 0 in the others.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::linear) fn fifths(bits: &[u8]) -> __m256i {
    let bits = u32::from_le_bytes(bits.as_chunks::<4>().0[0]);
    let first = 0x0101_0101_0101_0101;
    let byte = _mm256_setr_epi64x(0, first, 2 * first, 3 * first);
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    let own = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits.cast_signed()), byte), bit);
    _mm256_and_si256(_mm256_cmpeq_epi8(own, bit), _mm256_set1_epi8(16))
}

/// Calls `take` with the numbers of 32 signed bytes, eight at a time, where `number` gives each part its scale.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn spread(bytes: __m256i, mut number: impl FnMut(usize, __m256)) {
    let parts = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
    for (at, part) in parts.into_iter().enumerate() {
        number(2 * at, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(part)));
        number(2 * at + 1, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(part, part))));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn bf16(bytes: &[u8; 2 * LANES], mut take: impl FnMut(usize, __m256)) {
    let bits = _mm256_cvtepu16_epi32(load_16(bytes, 0));
    take(0, _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_0(block: &[u8; 18], mut take: impl FnMut(usize, __m256)) {
    let scale = _mm256_set1_ps(half(block, 0));
    let signed = _mm256_sub_epi8(nibbles(load_16(block, 2)), _mm256_set1_epi8(8));
    spread(signed, |part, integers| take(part, _mm256_mul_ps(integers, scale)));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_1(block: &[u8; 20], mut take: impl FnMut(usize, __m256)) {
    let scale = _mm256_set1_ps(half(block, 0));
    let least = _mm256_set1_ps(half(block, 2));
    spread(nibbles(load_16(block, 4)), |part, integers| {
        take(part, _mm256_add_ps(_mm256_mul_ps(integers, scale), least));
    });
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q5_0(block: &[u8; 22], mut take: impl FnMut(usize, __m256)) {
    let scale = _mm256_set1_ps(half(block, 0));
    let fives = _mm256_or_si256(nibbles(load_16(block, 6)), fifths(&block[2..6]));
    let signed = _mm256_sub_epi8(fives, _mm256_set1_epi8(16));
    spread(signed, |part, integers| take(part, _mm256_mul_ps(integers, scale)));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q5_1(block: &[u8; 24], mut take: impl FnMut(usize, __m256)) {
    let scale = _mm256_set1_ps(half(block, 0));
    let least = _mm256_set1_ps(half(block, 2));
    let fives = _mm256_or_si256(nibbles(load_16(block, 8)), fifths(&block[4..8]));
    spread(fives, |part, integers| take(part, _mm256_add_ps(_mm256_mul_ps(integers, scale), least)));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q8_0(block: &[u8; 34], mut take: impl FnMut(usize, __m256)) {
    let scale = _mm256_set1_ps(half(block, 0));
    for (part, bytes) in block[2..].as_chunks::<LANES>().0.iter().enumerate() {
        // SAFETY: 8 bytes, which may have any address.
        let integers = _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) });
        take(part, _mm256_mul_ps(_mm256_cvtepi32_ps(integers), scale));
    }
}

/// Returns the scales of eight groups, and their least numbers, each times that of the block.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(in crate::linear) fn groups(block: &[u8]) -> [f32; 16] {
    let bytes = of_groups(block);
    let parts = [(bytes, half(block, 0)), (_mm_unpackhi_epi64(bytes, bytes), half(block, 2))];
    let mut list = [0.0; 16];
    for (place, (bytes, of_block)) in list.as_chunks_mut::<LANES>().0.iter_mut().zip(parts) {
        let own = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        // SAFETY: room for eight numbers.
        unsafe { _mm256_storeu_ps(place.as_mut_ptr(), _mm256_mul_ps(own, _mm256_set1_ps(of_block))) };
    }
    list
}

/// Calls `take` with the numbers of a pair of groups, whose integers are given. A scale has at most 17 bits, 11 of its block's and
/// 6 of its own, and an integer 5: their product is exact, so that fusing it with the subtraction changes no bit.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pair(pair: usize, groups: &[f32; 16], integers: [__m256i; 2], mut take: impl FnMut(usize, __m256)) {
    for (at, integers) in integers.into_iter().enumerate() {
        let scale = _mm256_set1_ps(groups[2 * pair + at]);
        let least = _mm256_set1_ps(groups[8 + 2 * pair + at]);
        spread(integers, |part, integers| {
            take(8 * pair + 4 * at + part, _mm256_fmsub_ps(scale, integers, least));
        });
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q4_k(block: &[u8; 144], mut take: impl FnMut(usize, __m256)) {
    // Behind an address that the compiler knows nothing of, so that each number is spread by its load, not by shuffles.
    let groups = groups(block);
    let groups = black_box(&groups);
    let fifteen = _mm256_set1_epi8(15);
    for at in 0..4 {
        let both = load(block, 16 + 32 * at);
        let low = _mm256_and_si256(both, fifteen);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
        pair(at, groups, [low, high], &mut take);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q5_k(block: &[u8; 176], mut take: impl FnMut(usize, __m256)) {
    let groups = groups(block);
    let groups = black_box(&groups);
    let mut bits = load(block, 16);
    let fifteen = _mm256_set1_epi8(15);
    let sixteen = _mm256_set1_epi8(16);
    for at in 0..4 {
        let both = load(block, 48 + 32 * at);
        // The two lowest bits of every byte belong to this pair; shifts of 16 bits bring in others, which are masked.
        let first = _mm256_and_si256(_mm256_slli_epi16::<4>(bits), sixteen);
        let second = _mm256_and_si256(_mm256_slli_epi16::<3>(bits), sixteen);
        bits = _mm256_srli_epi16::<2>(bits);
        let low = _mm256_or_si256(_mm256_and_si256(both, fifteen), first);
        let high = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen), second);
        pair(at, groups, [low, high], &mut take);
    }
}

/// Returns the scales of all parts of 16, each times that of the block.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(in crate::linear) fn q6_k_scales(block: &[u8; 210]) -> [f32; 16] {
    let bytes = load_16(block, 192);
    let of_block = _mm256_set1_ps(half(block, 208));
    let mut scales = [0.0; 16];
    for (place, bytes) in scales.as_chunks_mut::<LANES>().0.iter_mut().zip([bytes, _mm_unpackhi_epi64(bytes, bytes)]) {
        let own = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        // SAFETY: room for eight numbers.
        unsafe { _mm256_storeu_ps(place.as_mut_ptr(), _mm256_mul_ps(of_block, own)) };
    }
    scales
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn q6_k(block: &[u8; 210], mut take: impl FnMut(usize, __m256)) {
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
            spread(signed, |at, integers| {
                let scale = _mm256_set1_ps(scales[8 * part + 2 * quarter + at / 2]);
                take(16 * part + 4 * quarter + at, _mm256_mul_ps(scale, integers));
            });
        }
    }
}
