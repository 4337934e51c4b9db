//! Screening by AVX2, whose products of bytes are added in 16 bits: two of its sums of two products fit these if the factors
//! have 7 bits. Three multiplications then take 64 products, where those of f32 take eight.

use std::arch::x86_64::*;

use super::candidates::{CandidateLoops, Candidates};
use super::quantised::{ByteRange, LANES, PANEL, PanelHead, RoundedRow, TILE, Tiles, WordRegister};
use super::tiles::{LINES, Panel, ScreenLoops};

/// Numbers of a register.
const NARROW: usize = 8;
/// The registers of a line.
const PARTS: usize = LANES / NARROW;
/// Rows whose sums with a line are in registers together, beside two words of both factors.
const ROWS: usize = 3;

const _: () = assert!(TILE.is_multiple_of(ROWS));
const _: () = {
    let ByteRange { largest, lift } = ByteRange::SEVEN_BITS;
    let most = largest as i32;
    assert!(4 * (lift as i32 + most) * most <= i16::MAX as i32);
};

/// Returns whether the CPU has the instructions.
pub fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// The loops for a CPU with these instructions.
pub struct Avx2;

impl ScreenLoops for Avx2 {
    fn search(panel: &Panel, tiles: &Tiles, found: &mut Candidates) {
        // SAFETY: a screen uses these loops only where the instructions are there, here and below.
        unsafe { search(panel, tiles, found) };
    }
}

impl CandidateLoops for Avx2 {
    fn count(scores: &[[f32; LANES]], floor: f32) -> usize {
        // SAFETY: as above.
        unsafe { count(scores, floor) }
    }

    fn largest(scores: &[[f32; LANES]], floor: f32) -> f32 {
        // SAFETY: as above.
        unsafe { largest(scores, floor) }
    }

    fn compress(scores: &mut [f32], columns: &mut [u32], floor: f32) -> usize {
        let mut left = 0;
        for index in 0..scores.len().min(columns.len()) {
            let score = scores[index];
            scores[left] = score;
            columns[left] = columns[index];
            left += usize::from(score >= floor);
        }
        left
    }
}

#[target_feature(enable = "avx2,fma")]
fn search(panel: &Panel, tiles: &Tiles, found: &mut Candidates) {
    for (tile, x) in tiles.words.chunks_exact(panel.words.len()).enumerate() {
        for first in (0..TILE).step_by(ROWS) {
            let mut sums = [[[_mm256_setzero_si256(); PARTS]; LINES]; ROWS];
            for line in 0..LINES {
                let of_line = products(x, first, panel.words, line, panel.head);
                for (sums, of_line) in sums.iter_mut().zip(of_line) {
                    sums[line] = of_line;
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                let row = tile * TILE + first + index;
                let Some(rounded) = tiles.rows.get(row) else { return };
                see(row, rounded, sums, panel, found);
            }
        }
    }
}

/// Compares the scores of a row with its floor and stores those that reach it.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(clippy::needless_range_loop, reason = "the indices go through several arrays at once")]
fn see(row: usize, rounded: &RoundedRow, sums: &[[__m256i; PARTS]; LINES], panel: &Panel, found: &mut Candidates) {
    let head = panel.head;
    let step = _mm256_set1_ps(rounded.step);
    let floor = _mm256_set1_ps(found.floor(row));
    let mut scores = [0.0; PANEL];
    let mut hits = 0u64;
    for line in 0..LINES {
        for part in 0..PARTS {
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[line][part]), load(&head.steps[line].0, part));
            let mut score = _mm256_fmadd_ps(scaled, step, load(&head.bias[line].0, part));
            for (x, weights) in rounded.exact.iter().zip(&head.exact).take(panel.exact) {
                score = _mm256_fmadd_ps(_mm256_set1_ps(*x), load(&weights[line].0, part), score);
            }
            let first = line * LANES + part * NARROW;
            // SAFETY: a register of numbers.
            unsafe { _mm256_storeu_ps(scores[first..first + NARROW].as_mut_ptr(), score) };
            let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(score, floor));
            hits |= u64::from(mask as u32) << first;
        }
    }
    if hits == 0 {
        return;
    }
    let (room, columns, count) = found.room(row);
    let mut taken = 0;
    while hits != 0 {
        let lane = hits.trailing_zeros();
        room[taken] = scores[lane as usize];
        columns[taken] = panel.first + lane;
        taken += 1;
        hits &= hits - 1;
    }
    *count += taken;
    found.thin_if_full::<Avx2>(row);
}

/// Returns the sums of products of the bytes of some rows of a tile and of a line of a panel.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(clippy::needless_range_loop, reason = "the indices go through several arrays at once")]
fn products(
    x: &[[u32; TILE]],
    first: usize,
    words: &[[WordRegister; LINES]],
    line: usize,
    head: &PanelHead,
) -> [[__m256i; PARTS]; ROWS] {
    let start = [half(&head.starts[line], 0), half(&head.starts[line], 1)];
    let mut sums = [start; ROWS];
    let ones = _mm256_set1_epi16(1);
    let (x_pairs, x_last) = x.as_chunks::<2>();
    let (pairs, last) = words.as_chunks::<2>();
    for (x, words) in x_pairs.iter().zip(pairs) {
        for part in 0..PARTS {
            let weights = [half(&words[0][line], part), half(&words[1][line], part)];
            for row in 0..ROWS {
                let of_first = _mm256_maddubs_epi16(_mm256_set1_epi32(x[0][first + row] as i32), weights[0]);
                let of_second = _mm256_maddubs_epi16(_mm256_set1_epi32(x[1][first + row] as i32), weights[1]);
                let both = _mm256_add_epi16(of_first, of_second);
                sums[row][part] = _mm256_add_epi32(sums[row][part], _mm256_madd_epi16(both, ones));
            }
        }
    }
    for (x, words) in x_last.iter().zip(last) {
        for part in 0..PARTS {
            let weights = half(&words[line], part);
            for row in 0..ROWS {
                let products = _mm256_maddubs_epi16(_mm256_set1_epi32(x[first + row] as i32), weights);
                sums[row][part] = _mm256_add_epi32(sums[row][part], _mm256_madd_epi16(products, ones));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma")]
fn count(scores: &[[f32; LANES]], floor: f32) -> usize {
    let floor = _mm256_set1_ps(floor);
    let mut count = 0;
    for scores in scores {
        for part in 0..PARTS {
            let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(load(scores, part), floor));
            count += mask.count_ones() as usize;
        }
    }
    count
}

#[target_feature(enable = "avx2,fma")]
fn largest(scores: &[[f32; LANES]], floor: f32) -> f32 {
    let mut largest = _mm256_set1_ps(floor);
    for scores in scores {
        for part in 0..PARTS {
            largest = _mm256_max_ps(largest, load(scores, part));
        }
    }
    let mut lanes = [0.0; NARROW];
    // SAFETY: a register of numbers.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), largest) };
    lanes.into_iter().fold(floor, f32::max)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(numbers: &[f32; LANES], part: usize) -> __m256 {
    // SAFETY: a register of numbers.
    unsafe { _mm256_loadu_ps(numbers[part * NARROW..(part + 1) * NARROW].as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn half(line: &WordRegister, part: usize) -> __m256i {
    // SAFETY: a register of words.
    unsafe { _mm256_loadu_si256(line.0[part * NARROW..(part + 1) * NARROW].as_ptr().cast()) }
}
