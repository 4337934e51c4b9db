//! Products of quantised rows, a tile of rows and a panel of columns at a time, compared with floors in the registers.

use std::arch::x86_64::*;

use pulp::Arch;

use super::candidates::{Candidates, ROOM_OF_A_PANEL, load};
use super::quantised::{LANES, PANEL, PanelHead, Panels, RoundedRow, TILE, Tiles, WordRegister};

/// The width of a panel in registers.
const WIDE: usize = PANEL / LANES;

/// Returns whether the CPU has the instructions, and they may be used.
pub fn are_there(arch: Arch) -> bool {
    matches!(arch, Arch::V4(_)) && is_x86_feature_detected!("avx512vnni")
}

/// Finds the candidates of all rows, for a CPU of which [`are_there`] is true; returns false if there are too many.
pub fn look(tiles: &Tiles, panels: &Panels, found: &mut Candidates) -> bool {
    let heads = panels.heads.iter().zip(panels.words.chunks_exact(panels.inner)).enumerate();
    for (index, (head, words)) in heads {
        // SAFETY: a screen exists only where the instructions are there.
        unsafe {
            panel(&Panel { first: (index * PANEL) as u32, head, words, exact: panels.exact.len() }, tiles, found)
        };
        if found.are_too_many() {
            return false;
        }
    }
    for row in 0..tiles.rows.len() {
        // SAFETY: as above.
        unsafe { found.thin(row) };
    }
    !found.are_too_many()
}

/// The quantised columns of a panel.
struct Panel<'a> {
    first: u32,
    head: &'a PanelHead,
    words: &'a [[WordRegister; WIDE]],
    /// The number of exact dimensions.
    exact: usize,
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn panel(panel: &Panel, tiles: &Tiles, found: &mut Candidates) {
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
fn see(row: usize, rounded: &RoundedRow, sums: [__m512i; WIDE], panel: &Panel, found: &mut Candidates) {
    let head = panel.head;
    let step = _mm512_set1_ps(rounded.step);
    let floor = _mm512_set1_ps(found.floor(row));
    let mut scores = [_mm512_setzero_ps(); WIDE];
    let mut masks = [0; WIDE];
    let mut any = 0;
    for i in 0..WIDE {
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
    for i in 0..WIDE {
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
    found.thin_if_full(row);
}

/// Returns the sums of products of the bytes of a tile and a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn products(x: &[[u32; TILE]], words: &[[WordRegister; WIDE]], head: &PanelHead) -> [[__m512i; WIDE]; TILE] {
    let mut sums = [[_mm512_setzero_si512(); WIDE]; TILE];
    for sums in &mut sums {
        for (sum, start) in sums.iter_mut().zip(&head.starts) {
            *sum = line(start);
        }
    }
    for (x, words) in x.iter().zip(words) {
        let mut weights = [_mm512_setzero_si512(); WIDE];
        for i in 0..WIDE {
            weights[i] = line(&words[i]);
        }
        for r in 0..TILE {
            let x = _mm512_set1_epi32(x[r] as i32);
            for i in 0..WIDE {
                sums[r][i] = _mm512_dpbusd_epi32(sums[r][i], x, weights[i]);
            }
        }
    }
    sums
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
