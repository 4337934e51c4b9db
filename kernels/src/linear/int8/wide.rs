//! Dot products by AVX-512 and its products of bytes, straight from the blocks, which are read once and in order.

use std::arch::x86_64::*;

use pulp::Arch;

use super::avx2::{folded, halved};
use super::rows::Row;
use super::{FEW, FOLDED, GROUPS, SUMS};
use crate::linear::packed::Packing;
use crate::linear::packed::avx2::{half, load};
use crate::linear::packed::wide::groups;

/// Bytes that are prefetched ahead. (Measured on Zen 5, by a loop of as many instructions that reads 192 MiB: 36 GB a second on
/// one thread, with 4 KiB 27, with the lines of a row of 1 KiB asked for at once 30, without any 19.)
const AHEAD: usize = 12 << 10;

/// Returns whether the CPU has the instructions.
pub(super) fn is_there(arch: Arch) -> bool {
    matches!(arch, Arch::V4(_))
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("f16c")
}

/// Computes the dot products of up to [`FEW`] rows of x with up to four rows of blocks of so many bytes, 0 for those that there
/// are not.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
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
            let [first, second] = sums.chunks[of_x];
            let sum = _mm512_add_ps(first, second);
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sum)));
            *chunks = halved(_mm256_add_ps(_mm512_castps512_ps256(sum), upper));
            *least = halved(sums.least[of_x]);
        }
        // SAFETY: room for four numbers.
        unsafe { _mm_storeu_ps(found.as_mut_ptr(), _mm_sub_ps(folded(chunks), folded(least))) };
    }
    found
}

/// The sums of one row of blocks with R rows of x.
#[derive(Clone, Copy)]
struct RowSums<const R: usize> {
    chunks: [[__m512; SUMS]; R],
    least: [__m256; R],
}

impl<const R: usize> RowSums<R> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zeros() -> Self {
        Self { chunks: [[_mm512_setzero_ps(); SUMS]; R], least: [_mm256_setzero_ps(); R] }
    }

    /// Adds the products of a round of 128 numbers. `scales` has scales times the steps of each row of x, of which `which`
    /// says whose are those of each four numbers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
    fn add(&mut self, x: &[Row; R], at: usize, integers: [__m512i; SUMS], scales: [__m512; R], which: [__m512i; SUMS]) {
        for ((sums, x), scales) in self.chunks.iter_mut().zip(x).zip(&scales) {
            let chunks = &x.chunks.as_chunks::<SUMS>().0[at];
            for (((sum, chunk), integers), which) in sums.iter_mut().zip(chunks).zip(&integers).zip(&which) {
                // SAFETY: each list of a chunk is as long as a register.
                let (starts, x) = unsafe {
                    (
                        _mm512_loadu_si512(chunk.starts.as_ptr().cast()),
                        _mm512_loadu_si512(chunk.integers.as_ptr().cast()),
                    )
                };
                let products = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(starts, *integers, x));
                *sum = _mm512_add_ps(*sum, _mm512_mul_ps(products, _mm512_permutexvar_ps(*which, *scales)));
            }
        }
    }

    /// Adds the products of the least numbers of a block's groups.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
fn summed<const R: usize>(packing: Packing, blocks: &[u8], x: &[Row; R]) -> RowSums<R> {
    let mut sums = RowSums::zeros();
    // Four blocks at a time; those that there are not are 0.
    macro_rules! small {
        ($bytes:literal, $integers:path) => {{
            let which = [both(0, 1), both(2, 3)];
            let (rounds, rest) = blocks.as_chunks::<{ 4 * $bytes }>();
            for (at, round) in rounds.iter().enumerate() {
                prefetch(round);
                sums.add(x, at, $integers(round), of_round::<$bytes, R>(round, x, at), which);
            }
            if !rest.is_empty() {
                let mut round = [0; 4 * $bytes];
                round[..rest.len()].copy_from_slice(rest);
                let at = rounds.len();
                sums.add(x, at, $integers(&round), of_round::<$bytes, R>(&round, x, at), which);
            }
        }};
    }
    macro_rules! large {
        ($bytes:literal, $integers:path) => {{
            // In the order of `form::ORDER`.
            let order = _mm512_setr_epi32(8, 10, 9, 11, 12, 14, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0);
            for (at, block) in blocks.as_chunks::<$bytes>().0.iter().enumerate() {
                prefetch(block);
                let of_groups = groups(block);
                let scales = of_block(of_groups, x, at);
                for part in 0..2 {
                    let first = 4 * part;
                    let which = [both(first, first + 2), both(first + 1, first + 3)];
                    sums.add(x, 2 * at + part as usize, $integers(block, part as usize), scales, which);
                }
                sums.add_least(x, at, _mm512_castps512_ps256(_mm512_permutexvar_ps(order, of_groups)));
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
                prefetch(block);
                let scales = of_block(q6_k_scales(block), x, at);
                for part in 0..2 {
                    let first = 8 * part;
                    let which = [fours(first), fours(first + 4)];
                    sums.add(x, 2 * at + part as usize, q6_k(block, part as usize), scales, which);
                }
            }
        }
        Packing::Q4_1 | Packing::Q5_1 | Packing::Bf16 => {}
    }
    sums
}

/// Asks for the bytes that are read some rows later: a few lines with each block, since many requests at once would wait for
/// each other.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch(block: &[u8]) {
    let ahead = block.as_ptr().wrapping_add(AHEAD);
    for line in (0..block.len()).step_by(64) {
        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line).cast());
    }
}

/// Joins two halves of a register.
#[target_feature(enable = "avx512f")]
fn joined(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// Chooses one number for each half of a register.
#[target_feature(enable = "avx512f")]
fn both(low: i32, high: i32) -> __m512i {
    joined(_mm256_set1_epi32(low), _mm256_set1_epi32(high))
}

/// Chooses one of four neighbouring numbers for each quarter of a register.
#[target_feature(enable = "avx512f")]
fn fours(first: i32) -> __m512i {
    let which = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    _mm512_add_epi32(which, _mm512_set1_epi32(first))
}

/// Returns the scales of four blocks, which begin with them, times the steps of each row of x for these.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
fn of_round<const BYTES: usize, const R: usize>(round: &[u8], x: &[Row; R], at: usize) -> [__m512; R] {
    let bits = |block: usize| u64::from(u16::from_le_bytes([round[block * BYTES], round[block * BYTES + 1]]));
    let four = bits(0) | bits(1) << 16 | bits(2) << 32 | bits(3) << 48;
    let scales = _mm_cvtph_ps(_mm_cvtsi64_si128(four.cast_signed()));
    let mut all = [_mm512_setzero_ps(); R];
    for (product, x) in all.iter_mut().zip(x) {
        let steps: &[f32; 4] = &x.steps.as_chunks().0[at];
        // SAFETY: four numbers, which may have any address.
        *product = _mm512_castps128_ps512(_mm_mul_ps(scales, unsafe { _mm_loadu_ps(steps.as_ptr()) }));
    }
    all
}

/// Returns numbers of a block times the step of each row of x for it.
#[inline]
#[target_feature(enable = "avx512f")]
fn of_block<const R: usize>(numbers: __m512, x: &[Row; R], at: usize) -> [__m512; R] {
    let mut all = [numbers; R];
    for (product, x) in all.iter_mut().zip(x) {
        *product = _mm512_mul_ps(*product, _mm512_set1_ps(x.steps[at]));
    }
    all
}

/// Returns the integers of four blocks that have two in each byte, from the byte `from` of a block on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn nibbles<const BYTES: usize>(round: &[u8], from: usize) -> [__m512i; SUMS] {
    // The lower halves of a block's bytes come first, then the upper ones.
    let four = 0x0004_0004_0004_0004;
    let down = _mm512_setr_epi64(0, 0, four, four, 0, 0, four, four);
    let both = |block: usize| {
        let bytes: &[u8; 16] = &round[block * BYTES + from..].as_chunks().0[0];
        // SAFETY: 16 bytes, which may have any address.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    };
    let pairs = [joined(both(0), both(1)), joined(both(2), both(3))];
    pairs.map(|pair| _mm512_and_si512(_mm512_srlv_epi16(pair, down), _mm512_set1_epi8(15)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q4_0(round: &[u8; 72]) -> [__m512i; SUMS] {
    nibbles::<18>(round, 2)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q5_0(round: &[u8; 88]) -> [__m512i; SUMS] {
    let bits = |block: usize| u64::from(u32::from_le_bytes(round[block * 22 + 2..].as_chunks().0[0]));
    let [first, second] = nibbles::<22>(round, 6);
    [with_fifths(first, bits(0) | bits(1) << 32), with_fifths(second, bits(2) | bits(3) << 32)]
}

/// Adds 16 to the integers whose bit is set.
#[target_feature(enable = "avx512f,avx512bw")]
fn with_fifths(fours: __m512i, bits: u64) -> __m512i {
    _mm512_mask_add_epi8(fours, bits, fours, _mm512_set1_epi8(16))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q8_0(round: &[u8; 136]) -> [__m512i; SUMS] {
    let lifted = |first: usize| {
        let pair = joined(load(round, 34 * first + 2), load(round, 34 * first + 36));
        _mm512_xor_si512(pair, _mm512_set1_epi8(-128))
    };
    [lifted(0), lifted(2)]
}

/// Loads 64 bytes from a place of a block on.
#[target_feature(enable = "avx512f")]
fn load_line(block: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 64] = &block[at..].as_chunks().0[0];
    // SAFETY: 64 bytes, which may have any address.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Returns the lower halves of bytes, and the upper ones.
#[target_feature(enable = "avx512f,avx512bw")]
fn halves(bytes: __m512i) -> [__m512i; SUMS] {
    let fifteen = _mm512_set1_epi8(15);
    [_mm512_and_si512(bytes, fifteen), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), fifteen)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q4_k(block: &[u8; 144], part: usize) -> [__m512i; SUMS] {
    halves(load_line(block, 16 + 64 * part))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q5_k(block: &[u8; 176], part: usize) -> [__m512i; SUMS] {
    let fifths = _mm512_broadcast_i64x4(load(block, 16));
    // Bit g of a byte belongs to a number of group g.
    let set = |group: usize| {
        let bit = |group: usize| _mm256_set1_epi8((1_u8 << group).cast_signed());
        _mm512_test_epi8_mask(fifths, joined(bit(group), bit(group + 2)))
    };
    let [low, high] = halves(load_line(block, 48 + 64 * part));
    [with_fifths(low, set(4 * part)), with_fifths(high, set(4 * part + 1))]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn q6_k(block: &[u8; 210], part: usize) -> [__m512i; SUMS] {
    let [low, high] = halves(load_line(block, 64 * part));
    let twos = _mm512_broadcast_i64x4(load(block, 128 + 32 * part));
    let by = |low: i16, high: i16| joined(_mm256_set1_epi16(low), _mm256_set1_epi16(high));
    let upper = |twos: __m512i| _mm512_and_si512(twos, _mm512_set1_epi8(0x30));
    [
        _mm512_or_si512(low, upper(_mm512_sllv_epi16(twos, by(4, 2)))),
        _mm512_or_si512(high, upper(_mm512_srlv_epi16(twos, by(0, 2)))),
    ]
}

/// Returns the scales of all parts of 16, each times that of the block.
#[target_feature(enable = "avx512f,f16c")]
fn q6_k_scales(block: &[u8; 210]) -> __m512 {
    let bytes: &[u8; 16] = &block[192..].as_chunks().0[0];
    // SAFETY: 16 bytes, which may have any address.
    let own = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }));
    _mm512_mul_ps(_mm512_set1_ps(half(block, 208)), own)
}
