//! Screening by AVX-512 and its products of bytes, which adds four of them to a sum of 32 bits.

use std::arch::x86_64::*;

use super::candidates::{CandidateLoops, Candidates, ROOM_OF_A_PANEL};
use super::quantised::{LANES, PANEL, PanelHead, RoundedRow, TILE, Tiles, WordRegister};
use super::tiles::{LINES, Panel, ScreenLoops};

/// Returns whether the CPU has the instructions.
pub fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// The loops for a CPU with these instructions.
pub struct Avx512;

impl ScreenLoops for Avx512 {
    fn search(panel: &Panel, tiles: &Tiles, found: &mut Candidates) {
        // SAFETY: a screen uses these loops only where the instructions are there, here and below.
        unsafe { search(panel, tiles, found) };
    }
}

impl CandidateLoops for Avx512 {
    fn count(scores: &[[f32; LANES]], floor: f32) -> usize {
        // SAFETY: as above.
        unsafe { count(scores, floor) }
    }

    fn largest(scores: &[[f32; LANES]], floor: f32) -> f32 {
        // SAFETY: as above.
        unsafe { largest(scores, floor) }
    }

    fn compress(scores: &mut [f32], columns: &mut [u32], floor: f32) -> usize {
        // SAFETY: as above.
        unsafe { compress(scores, columns, floor) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn search(panel: &Panel, tiles: &Tiles, found: &mut Candidates) {
    for (tile, x) in tiles.words.chunks_exact(panel.words.len()).enumerate() {
        let sums = products(x, panel.words, panel.head);
        for (index, sums) in sums.into_iter().enumerate() {
            let row = tile * TILE + index;
            let Some(rounded) = tiles.rows.get(row) else { break };
            see(row, rounded, sums, panel, found);
        }
    }
}

/// Compares the scores of a row with its floor and stores those that reach it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn see(row: usize, rounded: &RoundedRow, sums: [__m512i; LINES], panel: &Panel, found: &mut Candidates) {
    let head = panel.head;
    let step = _mm512_set1_ps(rounded.step);
    let floor = _mm512_set1_ps(found.floor(row));
    let mut scores = [_mm512_setzero_ps(); LINES];
    let mut masks = [0; LINES];
    let mut any = 0;
    for i in 0..LINES {
        let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), load(&head.steps[i].0));
        scores[i] = _mm512_fmadd_ps(scaled, step, load(&head.bias[i].0));
        for (x, weights) in rounded.exact.iter().zip(&head.exact).take(panel.exact) {
            scores[i] = _mm512_fmadd_ps(_mm512_set1_ps(*x), load(&weights[i].0), scores[i]);
        }
        masks[i] = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(scores[i], floor);
        any |= masks[i];
    }
    if any == 0 {
        return;
    }
    let (room, columns, count) = found.room(row);
    let mut taken = 0;
    for i in 0..LINES {
        let here = _mm512_add_epi32(_mm512_set1_epi32((panel.first as usize + i * LANES) as i32), counting());
        let packed = _mm512_maskz_compress_ps(masks[i], scores[i]);
        let numbers = _mm512_maskz_compress_epi32(masks[i], here);
        // SAFETY: `room` leaves space for all scores of a panel and a register more.
        unsafe {
            _mm512_storeu_ps(room[taken..].as_mut_ptr(), packed);
            _mm512_storeu_si512(columns[taken..].as_mut_ptr().cast(), numbers);
        }
        taken += masks[i].count_ones() as usize;
    }
    const { assert!(ROOM_OF_A_PANEL >= PANEL + LANES) };
    *count += taken;
    found.thin_if_full::<Avx512>(row);
}

/// Returns the sums of products of the bytes of a tile and a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn products(x: &[[u32; TILE]], words: &[[WordRegister; LINES]], head: &PanelHead) -> [[__m512i; LINES]; TILE] {
    let mut sums = [[_mm512_setzero_si512(); LINES]; TILE];
    for sums in &mut sums {
        for (sum, start) in sums.iter_mut().zip(&head.starts) {
            *sum = line(start);
        }
    }
    for (x, words) in x.iter().zip(words) {
        let mut weights = [_mm512_setzero_si512(); LINES];
        for i in 0..LINES {
            weights[i] = line(&words[i]);
        }
        for r in 0..TILE {
            let x = _mm512_set1_epi32(x[r] as i32);
            for i in 0..LINES {
                sums[r][i] = _mm512_dpbusd_epi32(sums[r][i], x, weights[i]);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx512f")]
fn count(scores: &[[f32; LANES]], floor: f32) -> usize {
    let floor = _mm512_set1_ps(floor);
    scores.iter().map(|scores| _mm512_cmp_ps_mask::<_CMP_GE_OQ>(load(scores), floor).count_ones() as usize).sum()
}

#[target_feature(enable = "avx512f")]
fn largest(scores: &[[f32; LANES]], floor: f32) -> f32 {
    let mut largest = _mm512_set1_ps(floor);
    for scores in scores {
        largest = _mm512_max_ps(largest, load(scores));
    }
    _mm512_reduce_max_ps(largest)
}

#[target_feature(enable = "avx512f")]
fn compress(scores: &mut [f32], columns: &mut [u32], floor: f32) -> usize {
    let floor = _mm512_set1_ps(floor);
    let mut left = 0;
    for first in (0..scores.len().min(columns.len())).step_by(LANES) {
        // SAFETY: whole registers are read, and each is written at or before the place that it was read from; what
        // stands after the kept scores is not read again.
        unsafe {
            let here = _mm512_loadu_ps(scores[first..first + LANES].as_ptr());
            let of_here = _mm512_loadu_si512(columns[first..first + LANES].as_ptr().cast());
            let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(here, floor);
            _mm512_storeu_ps(scores[left..left + LANES].as_mut_ptr(), _mm512_maskz_compress_ps(mask, here));
            let packed = _mm512_maskz_compress_epi32(mask, of_here);
            _mm512_storeu_si512(columns[left..left + LANES].as_mut_ptr().cast(), packed);
            left += mask.count_ones() as usize;
        }
    }
    left
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &[f32; LANES]) -> __m512 {
    // SAFETY: a register of numbers.
    unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn line(line: &WordRegister) -> __m512i {
    // SAFETY: a line is as long as a register, and aligned.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn counting() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}
