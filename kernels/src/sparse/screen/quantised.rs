//! Rows quantised to bytes, each with its own step, packed in the order in which tiles read them.

use pulp::{Arch, Simd, WithSimd};

use crate::base::parallel;
use crate::sparse::wanted::Product;
use crate::sparse::{AtLeast, squares};

/// Rows of a tile.
pub const TILE: usize = 6;
/// Columns of a panel, four registers wide; its bytes stay in the L1 cache for all rows.
pub const PANEL: usize = 64;
/// Numbers of a register of AVX-512; two of AVX2 have as many.
pub const LANES: usize = 16;
/// Bytes that an instruction multiplies and adds at a time.
const TOGETHER: usize = 4;
/// Magnitude up to which rows are quantised to zeros.
const SMALLEST: f32 = 1e-30;
/// The most dimensions that are multiplied in f32.
pub const EXACT: usize = 4;
/// Rows that are looked at for such dimensions.
const SAMPLE: usize = 256;
/// The share of its size to which the mean peak of rows has to fall without them.
const PEAK: f32 = 0.6;
/// A number whose addition leaves the nearest integer in the lowest bits.
const ROUNDS: f32 = 12_582_912.0;

/// The numbers that rows are rounded to, which the instructions determine.
#[derive(Debug, Clone, Copy)]
pub struct ByteRange {
    /// The largest magnitude.
    pub largest: f32,
    /// The offset that makes the numbers of one factor positive, as the instructions require.
    pub lift: u8,
}

impl ByteRange {
    #[cfg(feature = "avx512")]
    pub const EIGHT_BITS: Self = Self { largest: 127.0, lift: 128 };
    pub const SEVEN_BITS: Self = Self { largest: 63.0, lift: 64 };
}

/// A register of words of four bytes each.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct WordRegister(pub [u32; LANES]);

/// A register of numbers.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct FloatRegister(pub [f32; LANES]);

/// The constants of the columns of a panel.
#[derive(Debug, Clone, Copy, Default)]
pub struct PanelHead {
    /// Starting values of the sums, which compensate the offset of the other factor.
    pub starts: [WordRegister; PANEL / LANES],
    pub steps: [FloatRegister; PANEL / LANES],
    /// The bias minus the floor of the column; minus infinity if there is no column.
    pub bias: [FloatRegister; PANEL / LANES],
    /// The weights of the exact dimensions.
    pub exact: [[FloatRegister; PANEL / LANES]; EXACT],
}

/// Quantised weights.
pub struct Panels {
    pub range: ByteRange,
    /// Words of a panel: those of all columns for each four numbers of a row.
    pub words: Vec<[WordRegister; PANEL / LANES]>,
    pub heads: Vec<PanelHead>,
    /// The largest step, and the largest length of a row without its exact dimensions.
    pub step: f32,
    pub length: f32,
    /// Words of a row.
    pub inner: usize,
    /// The dimensions that are multiplied in f32.
    pub exact: Vec<usize>,
    /// Number from which on scores minus their floors are kept.
    pub lowest: f32,
}

impl Panels {
    /// Quantises the weights of a product; None if a number is not finite.
    pub fn of(arch: Arch, range: ByteRange, product: &Product, floors: AtLeast) -> Option<Self> {
        let columns = product.sizes.columns;
        let numbers = product.sizes.inner;
        // A score of 0 is kept only if a floor allows it.
        let lowest = if matches!(floors, AtLeast::Positive) { f32::MIN_POSITIVE } else { 0.0 };
        let count = columns.div_ceil(PANEL);
        let inner = numbers.div_ceil(TOGETHER);
        let exact = outliers(product.x, numbers);
        let mut words = vec![[WordRegister::default(); PANEL / LANES]; count * inner];
        let panel = |(panel, words): (usize, &mut [[WordRegister; PANEL / LANES]])| {
            let mut head =
                PanelHead { bias: [FloatRegister([f32::NEG_INFINITY; LANES]); PANEL / LANES], ..PanelHead::default() };
            let mut step = 0f32;
            let mut length = 0f32;
            let mut quantised = QuantisedRow::default();
            let mut buffer = Vec::new();
            for column in panel * PANEL..columns.min((panel + 1) * PANEL) {
                let row = match product.rounded {
                    Some(factors) => factors.weights.widened(column..column + 1, &mut buffer),
                    None => &product.weights[column * numbers..(column + 1) * numbers],
                };
                let rounded = quantised.round(arch, range, row, &exact)?;
                let register = column % PANEL / LANES;
                let lane = column % LANES;
                for (registers, weight) in head.exact.iter_mut().zip(rounded.exact) {
                    registers[register].0[lane] = weight;
                }
                for (words, bytes) in words.iter_mut().zip(quantised.bytes.as_chunks::<TOGETHER>().0) {
                    words[register].0[lane] = u32::from_le_bytes(*bytes);
                }
                head.starts[register].0[lane] = (-i32::from(range.lift) * rounded.sum) as u32;
                head.steps[register].0[lane] = rounded.step;
                let bias = product.bias[column] - floors.at(column);
                if !bias.is_finite() {
                    return None;
                }
                head.bias[register].0[lane] = bias;
                (step, length) = (step.max(rounded.step), length.max(rounded.length));
            }
            Some((head, step, length))
        };
        let found = parallel::of_each_short(words.chunks_mut(inner.max(1)).enumerate(), &panel);
        let heads = Vec::with_capacity(count);
        let mut panels = Self { range, words, heads, step: 0.0, length: 0.0, inner, exact, lowest };
        for found in found {
            let (head, step, length) = found?;
            panels.heads.push(head);
            (panels.step, panels.length) = (panels.step.max(step), panels.length.max(length));
        }
        Some(panels)
    }
}

/// Returns the dimensions that are so much larger than the others that bytes of a row would hardly tell these apart, as
/// language models have them; none where the peaks of rows would stay.
fn outliers(rows: &[f32], numbers: usize) -> Vec<usize> {
    let count = rows.len() / numbers;
    let sample = || rows.chunks_exact(numbers).step_by(count.div_ceil(SAMPLE).max(1));
    let mut sizes = vec![0.0; numbers];
    for row in sample() {
        sizes.iter_mut().zip(row).for_each(|(size, x)| *size += x.abs());
    }
    let mut largest: Vec<usize> = (0..numbers).collect();
    largest.sort_by(|a, b| f32::total_cmp(&sizes[*b], &sizes[*a]));
    largest.truncate(EXACT);
    let peak = |row: &[f32]| row.iter().fold(0f32, |peak, x| peak.max(x.abs()));
    let with: f32 = sample().map(peak).sum();
    let mut rest = vec![0.0; numbers];
    let mut without = 0.0;
    for row in sample() {
        rest.copy_from_slice(row);
        largest.iter().for_each(|dimension| rest[*dimension] = 0.0);
        without += peak(&rest);
    }
    if without < PEAK * with { largest } else { Vec::new() }
}

/// Quantised rows, padded with zeros to whole tiles.
#[derive(Default)]
pub struct Tiles {
    /// Words of a tile: those of all its rows for each four numbers of a row.
    pub words: Vec<[u32; TILE]>,
    pub rows: Vec<RoundedRow>,
    quantised: QuantisedRow,
}

impl Tiles {
    /// Quantises rows as those of the weights were; returns false if a number is not finite.
    pub fn fill(&mut self, arch: Arch, rows: &[f32], numbers: usize, panels: &Panels) -> bool {
        let Panels { range, exact, .. } = panels;
        let inner = numbers.div_ceil(TOGETHER);
        let tiles = (rows.len() / numbers).div_ceil(TILE);
        self.words.clear();
        self.words.resize(tiles * inner, [u32::from_ne_bytes([range.lift; TOGETHER]); TILE]);
        self.rows.clear();
        for (index, row) in rows.chunks_exact(numbers).enumerate() {
            let Some(rounded) = self.quantised.round(arch, *range, row, exact) else { return false };
            let tile = &mut self.words[index / TILE * inner..(index / TILE + 1) * inner];
            for (words, bytes) in tile.iter_mut().zip(self.quantised.bytes.as_chunks::<TOGETHER>().0) {
                words[index % TILE] = u32::from_le_bytes(bytes.map(|byte| byte.wrapping_add(range.lift)));
            }
            self.rows.push(rounded);
        }
        true
    }
}

/// The properties of a row that was rounded to bytes.
pub struct RoundedRow {
    pub step: f32,
    /// The length of the row without its exact dimensions.
    pub length: f32,
    /// The sum of the row's bytes.
    sum: i32,
    /// The numbers of the exact dimensions.
    pub exact: [f32; EXACT],
}

/// A row as bytes, numbers below 0 as two's complements.
#[derive(Default)]
struct QuantisedRow {
    /// The row without its exact dimensions.
    rest: Vec<f32>,
    bytes: Vec<u8>,
}

impl QuantisedRow {
    /// Rounds a row to bytes of a step's size, whole words of them; None if a number is not finite.
    fn round(&mut self, arch: Arch, range: ByteRange, row: &[f32], exact: &[usize]) -> Option<RoundedRow> {
        self.rest.clear();
        self.rest.extend_from_slice(row);
        self.bytes.resize(row.len().next_multiple_of(TOGETHER), 0);
        let mut numbers = [0.0; EXACT];
        for (number, dimension) in numbers.iter_mut().zip(exact) {
            *number = std::mem::take(&mut self.rest[*dimension]);
        }
        let length = squares(arch, &self.rest).sqrt();
        if !length.is_finite() || !numbers.iter().all(|number| number.is_finite()) {
            return None;
        }
        let (largest, sum) = arch.dispatch(Round { row: &self.rest, bytes: &mut self.bytes, most: range.largest });
        let step = if largest > SMALLEST { largest / range.largest } else { 0.0 };
        Some(RoundedRow { step, length, sum, exact: numbers })
    }
}

struct Round<'a> {
    row: &'a [f32],
    bytes: &'a mut [u8],
    /// The number that the largest is rounded to.
    most: f32,
}

impl WithSimd for Round<'_> {
    /// The largest number by its size, and the sum of the bytes.
    type Output = (f32, i32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, i32) {
        let (whole, rest) = S::as_simd_f32s(self.row);
        let mut most = simd.splat_f32s(0.0);
        for x in whole {
            most = simd.max_f32s(most, simd.abs_f32s(*x));
        }
        let largest = rest.iter().fold(simd.reduce_max_f32s(most), |largest, x| largest.max(x.abs()));
        let factor = if largest > SMALLEST { self.most / largest } else { 0.0 };
        for (byte, x) in self.bytes.iter_mut().zip(self.row) {
            *byte = (x * factor + ROUNDS).to_bits() as u8;
        }
        let sum = self.bytes.iter().map(|byte| i32::from(*byte as i8)).sum();
        (largest, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_dimensions_far_larger_than_the_others_are_outliers() {
        let found = |which: &[usize], size: f32| {
            let number = |index: usize| if which.contains(&(index % 64)) { -size } else { 1.0 };
            outliers(&(0..300 * 64).map(number).collect::<Vec<_>>(), 64)
        };
        assert_eq!(found(&[9, 5], 10.0)[..2], [5, 9]);
        assert!(found(&[9, 5], 1.5).is_empty());
        // As many as these leave the peaks as they are.
        assert!(found(&[9, 5, 1, 2, 3], 10.0).is_empty());
    }
}
