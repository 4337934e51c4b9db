//! The same numbers by AVX-512: four or five bits choose among the numbers of a group, which are computed once.
//!
//! A table has the bits that [`super::blocks`] computes, since every number of a group is the same operations on one of 16 or 32
//! integers.

use std::arch::x86_64::*;

use super::Packing;

/// Writes the numbers of whole blocks, if the processor has what it takes.
pub(super) fn decode(packing: Packing, blocks: &[u8], numbers: &mut [f32]) -> bool {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("f16c");
    if has {
        // SAFETY: the processor has these instructions.
        unsafe { each(packing, blocks, numbers) };
    }
    has
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn each(packing: Packing, blocks: &[u8], numbers: &mut [f32]) {
    macro_rules! with {
        ($numbers:literal, $bytes:literal, $decode:path) => {{
            let (blocks, _) = blocks.as_chunks::<$bytes>();
            let (numbers, _) = numbers.as_chunks_mut::<$numbers>();
            for (block, numbers) in blocks.iter().zip(numbers) {
                $decode(block, numbers);
            }
        }};
    }
    match packing {
        Packing::Q4_0 => with!(32, 18, q4_0),
        Packing::Q4_1 => with!(32, 20, q4_1),
        Packing::Q5_0 => with!(32, 22, q5_0),
        Packing::Q5_1 => with!(32, 24, q5_1),
        Packing::Q8_0 => with!(32, 34, q8_0),
        Packing::Q4K => with!(256, 144, q4_k),
        Packing::Q5K => with!(256, 176, q5_k),
        Packing::Q6K => with!(256, 210, q6_k),
    }
}

/// 0 to 15.
#[target_feature(enable = "avx512f")]
fn integers() -> __m512 {
    _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.)
}

/// The half-precision number at this place.
#[target_feature(enable = "f16c")]
fn half(block: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// 16 bytes as integers of 32 bits.
#[target_feature(enable = "avx512f")]
fn widened(bytes: &[u8; 16]) -> __m512i {
    // SAFETY: 16 bytes, which may have any address.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f")]
fn put(numbers: &mut [f32; 16], found: __m512) {
    // SAFETY: room for 16 numbers.
    unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), found) };
}

/// The numbers of 16 bytes of two each: of the lower halves, and of the upper ones.
#[target_feature(enable = "avx512f")]
fn halves(bytes: &[u8; 16], low: __m512, high: __m512) -> [__m512; 2] {
    let both = widened(bytes);
    // Of an index, the instruction reads the lowest four bits.
    [_mm512_permutexvar_ps(both, low), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(both), high)]
}

#[target_feature(enable = "avx512f,f16c")]
fn q4_0(block: &[u8; 18], numbers: &mut [f32; 32]) {
    let table = _mm512_mul_ps(_mm512_sub_ps(integers(), _mm512_set1_ps(8.0)), _mm512_set1_ps(half(block, 0)));
    put_halves(&block[2..], numbers, table);
}

#[target_feature(enable = "avx512f,f16c")]
fn q4_1(block: &[u8; 20], numbers: &mut [f32; 32]) {
    let table = _mm512_mul_ps(integers(), _mm512_set1_ps(half(block, 0)));
    put_halves(&block[4..], numbers, _mm512_add_ps(table, _mm512_set1_ps(half(block, 2))));
}

#[target_feature(enable = "avx512f")]
fn put_halves(bytes: &[u8], numbers: &mut [f32; 32], table: __m512) {
    let (numbers, _) = numbers.as_chunks_mut::<16>();
    let found = halves(&bytes.as_chunks::<16>().0[0], table, table);
    put(&mut numbers[0], found[0]);
    put(&mut numbers[1], found[1]);
}

/// 32 numbers, which five bits of each byte choose of two tables.
#[target_feature(enable = "avx512f,avx512vl")]
fn put_fives(fives: __m256i, numbers: &mut [f32; 32], [first, second]: [__m512; 2]) {
    let (numbers, _) = numbers.as_chunks_mut::<16>();
    let parts = [_mm256_castsi256_si128(fives), _mm256_extracti128_si256::<1>(fives)];
    for (numbers, part) in numbers.iter_mut().zip(parts) {
        put(numbers, _mm512_permutex2var_ps(first, _mm512_cvtepu8_epi32(part), second));
    }
}

/// The five bits of 32 numbers: four in half a byte each, first all lower halves, and one in `bits`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn fives(bytes: &[u8], bits: &[u8]) -> __m256i {
    // SAFETY: 16 bytes, which may have any address.
    let both = unsafe { _mm_loadu_si128(bytes.as_chunks::<16>().0[0].as_ptr().cast()) };
    let high = _mm_srli_epi16::<4>(both);
    let fours = _mm256_and_si256(_mm256_set_m128i(high, both), _mm256_set1_epi8(15));
    let bits = u32::from_le_bytes(bits.as_chunks::<4>().0[0]);
    _mm256_or_si256(fours, _mm256_maskz_set1_epi8(bits, 16))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_0(block: &[u8; 22], numbers: &mut [f32; 32]) {
    let scale = _mm512_set1_ps(half(block, 0));
    let table = |least: f32| _mm512_mul_ps(_mm512_add_ps(integers(), _mm512_set1_ps(least)), scale);
    put_fives(fives(&block[6..], &block[2..6]), numbers, [table(-16.0), table(0.0)]);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_1(block: &[u8; 24], numbers: &mut [f32; 32]) {
    let (scale, least) = (_mm512_set1_ps(half(block, 0)), _mm512_set1_ps(half(block, 2)));
    let table = |from: f32| {
        let integers = _mm512_add_ps(integers(), _mm512_set1_ps(from));
        _mm512_add_ps(_mm512_mul_ps(integers, scale), least)
    };
    put_fives(fives(&block[8..], &block[4..8]), numbers, [table(0.0), table(16.0)]);
}

#[target_feature(enable = "avx512f,f16c")]
fn q8_0(block: &[u8; 34], numbers: &mut [f32; 32]) {
    let scale = _mm512_set1_ps(half(block, 0));
    let (bytes, _) = block[2..].as_chunks::<16>();
    for (numbers, bytes) in numbers.as_chunks_mut::<16>().0.iter_mut().zip(bytes) {
        // SAFETY: 16 bytes, which may have any address.
        let integers = _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
        put(numbers, _mm512_mul_ps(_mm512_cvtepi32_ps(integers), scale));
    }
}

/// The scales and the least numbers of eight groups: six bits each in twelve bytes, times those of the block.
#[target_feature(enable = "avx512f,avx512vl,f16c")]
fn of_groups(block: &[u8]) -> ([f32; 8], [f32; 8]) {
    const SIX: u32 = 0x3f3f_3f3f;
    const FOUR: u32 = 0x0f0f_0f0f;
    const TWO: u32 = 0x0303_0303;
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let words = [word(4), word(8), word(12)];
    let upper = |word: u32| (word >> 6 & TWO) << 4;
    let scales = [words[0] & SIX, words[2] & FOUR | upper(words[0])];
    let least = [words[1] & SIX, words[2] >> 4 & FOUR | upper(words[1])];
    let times = |[low, high]: [u32; 2], by: f32| {
        let bytes = _mm_set_epi64x(0, (u64::from(high) << 32 | u64::from(low)) as i64);
        let found = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(by));
        let mut list = [0.0; 8];
        // SAFETY: room for eight numbers.
        unsafe { _mm256_storeu_ps(list.as_mut_ptr(), found) };
        list
    };
    (times(scales, half(block, 0)), times(least, half(block, 2)))
}

/// A group's numbers for the integers from `from` on.
#[target_feature(enable = "avx512f")]
fn table(from: f32, scale: f32, least: f32) -> __m512 {
    let integers = _mm512_add_ps(integers(), _mm512_set1_ps(from));
    _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(scale), integers), _mm512_set1_ps(least))
}

#[target_feature(enable = "avx512f,avx512vl,f16c")]
fn q4_k(block: &[u8; 144], numbers: &mut [f32; 256]) {
    let (scales, least) = of_groups(block);
    let (bytes, _) = block[16..].as_chunks::<16>();
    for (pair, numbers) in numbers.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let of = |group: usize| table(0.0, scales[group], least[group]);
        let (low, high) = (of(2 * pair), of(2 * pair + 1));
        let (numbers, _) = numbers.as_chunks_mut::<16>();
        for half in 0..2 {
            let found = halves(&bytes[2 * pair + half], low, high);
            put(&mut numbers[half], found[0]);
            put(&mut numbers[2 + half], found[1]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q5_k(block: &[u8; 176], numbers: &mut [f32; 256]) {
    let (scales, least) = of_groups(block);
    let load = |at: usize| {
        let bytes: &[u8; 32] = &block[at..at + 32].as_chunks().0[0];
        // SAFETY: 32 bytes, which may have any address.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    };
    let mut bits = load(16);
    let (fifteen, sixteen) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    for (pair, numbers) in numbers.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let of = |group: usize| [0.0, 16.0].map(|from| table(from, scales[group], least[group]));
        let both = load(48 + 32 * pair);
        let (numbers, _) = numbers.as_chunks_mut::<32>();
        // The two lowest bits of every byte belong to this pair; shifts of 16 bits bring in others, which are masked.
        let low = _mm256_and_si256(_mm256_slli_epi16::<4>(bits), sixteen);
        let high = _mm256_and_si256(_mm256_slli_epi16::<3>(bits), sixteen);
        bits = _mm256_srli_epi16::<2>(bits);
        put_fives(_mm256_or_si256(_mm256_and_si256(both, fifteen), low), &mut numbers[0], of(2 * pair));
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
        put_fives(_mm256_or_si256(upper, high), &mut numbers[1], of(2 * pair + 1));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn q6_k(block: &[u8; 210], numbers: &mut [f32; 256]) {
    let scale = half(block, 208);
    let load = |at: usize| {
        let bytes: &[u8; 32] = &block[at..at + 32].as_chunks().0[0];
        // SAFETY: 32 bytes, which may have any address.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    };
    let (fifteen, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    for (part, numbers) in numbers.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let low = [load(64 * part), load(64 * part + 32)];
        let high = load(128 + 32 * part);
        let fours = [low[0], low[1], _mm256_srli_epi16::<4>(low[0]), _mm256_srli_epi16::<4>(low[1])];
        let twos = [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high), high, _mm256_srli_epi16::<2>(high)];
        let (numbers, _) = numbers.as_chunks_mut::<32>();
        for (quarter, numbers) in numbers.iter_mut().enumerate() {
            let six =
                _mm256_or_si256(_mm256_and_si256(fours[quarter], fifteen), _mm256_and_si256(twos[quarter], upper));
            let signed = _mm256_sub_epi8(six, _mm256_set1_epi8(32));
            let parts = [_mm256_castsi256_si128(signed), _mm256_extracti128_si256::<1>(signed)];
            for (at, (numbers, part_of)) in numbers.as_chunks_mut::<16>().0.iter_mut().zip(parts).enumerate() {
                let own = scale * f32::from(block[192 + 8 * part + 2 * quarter + at] as i8);
                let integers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(part_of));
                put(numbers, _mm512_mul_ps(_mm512_set1_ps(own), integers));
            }
        }
    }
}
