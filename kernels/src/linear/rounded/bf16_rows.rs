//! Rows rounded to bf16, and their products as the codes of a dictionary need them: of a row with some of many others, and of
//! all in tiles.

use std::ops::Range;

use pulp::Arch;

use super::{COLUMNS, GROUP, each_row, paired, plain, turn};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::base::prefetch::ask_for;

/// Rows that a thread rounds at a time.
const PIECE: usize = 64;
/// Rows that are multiplied with a row together.
const TOGETHER: usize = 4;

/// Rows of numbers rounded to bf16, two numbers in each place.
pub struct Bf16Rows {
    pairs: Vec<u32>,
    /// Numbers of a row.
    inner: usize,
}

impl Bf16Rows {
    /// Rounds rows of so many numbers, which are not 0.
    pub fn of(numbers: &[f32], inner: usize) -> Self {
        let arch = arch();
        let width = inner.div_ceil(2);
        let mut pairs = vec![0; numbers.len() / inner * width];
        parallel::fill(&mut pairs, PIECE * width, &|first, pairs| {
            let rows = numbers[first / width * inner..].chunks_exact(inner);
            for (row, place) in rows.zip(pairs.chunks_exact_mut(width)) {
                paired(arch, row, place);
            }
        });
        Self { pairs, inner }
    }

    /// Returns how many places a row takes.
    fn width(&self) -> usize {
        self.inner.div_ceil(2)
    }

    fn pairs(&self, rows: Range<usize>) -> &[u32] {
        &self.pairs[rows.start * self.width()..rows.end * self.width()]
    }

    /// Returns a row as it is stored.
    pub fn row(&self, row: usize) -> &[u32] {
        self.pairs(row..row + 1)
    }

    /// Returns the numbers of some rows in f32, written to a buffer.
    pub fn widened<'b>(&self, rows: Range<usize>, buffer: &'b mut Vec<f32>) -> &'b [f32] {
        buffer.resize(rows.len() * self.inner, 0.0);
        let pairs = self.pairs(rows).chunks_exact(self.width());
        for (numbers, pairs) in buffer.chunks_exact_mut(self.inner).zip(pairs) {
            let (whole, rest) = numbers.as_chunks_mut::<2>();
            for (numbers, pair) in whole.iter_mut().zip(pairs) {
                *numbers = plain::widened(*pair);
            }
            if let ([last], Some(pair)) = (rest, pairs.last()) {
                [*last, _] = plain::widened(*pair);
            }
        }
        buffer
    }

    /// Writes the dot products of a row of others, as it is stored, with some of these. Their bits are the same on every CPU, but
    /// for sums below 2^-126.
    pub fn dots(&self, arch: Arch, x: &[u32], rows: &[u32], result: &mut [f32]) {
        let (groups, rest) = rows.as_chunks::<TOGETHER>();
        let (places, last) = result.as_chunks_mut::<TOGETHER>();
        for (index, (place, now)) in places.iter_mut().zip(groups).enumerate() {
            for next in rows.iter().skip((index + 1) * TOGETHER).take(TOGETHER) {
                ask_for(&self.pairs, self.width(), *next);
            }
            *place = dots(arch, x, now.map(|row| self.row(row as usize)));
        }
        for (place, row) in last.iter_mut().zip(rest) {
            [*place] = dots(arch, x, [self.row(*row as usize)]);
        }
    }

    /// Returns some rows as [`Bf16Rows::products`] reads them.
    pub(crate) fn grouped(&self, arch: Arch, rows: Range<usize>) -> Vec<u32> {
        let size = GROUP * self.width();
        let mut result = vec![0; rows.len().div_ceil(GROUP) * size];
        let mut whole = vec![0; size];
        for (pairs, group) in self.pairs(rows).chunks(size).zip(result.chunks_exact_mut(size)) {
            // Behind the rows of a last group that is not full others stay, of which no product is made.
            whole[..pairs.len()].copy_from_slice(pairs);
            turn(arch, &whole, self.width(), group);
        }
        result
    }

    /// Writes the products of grouped rows of x, as many as there are results for, with some of these rows: `[x, columns]`.
    pub(crate) fn products(&self, arch: Arch, x: &[u32], columns: Range<usize>, result: &mut [f32]) {
        let across = columns.len();
        let rows = result.len() / across;
        let mut whole = vec![0; COLUMNS * self.width()];
        let mut turned = whole.clone();
        for first in columns.clone().step_by(COLUMNS) {
            let count = COLUMNS.min(columns.end - first);
            let pairs = self.pairs(first..first + count);
            whole[..pairs.len()].copy_from_slice(pairs);
            turn(arch, &whole, self.width(), &mut turned);
            each_row(arch, x, 0..rows, &turned, |row, sums| {
                let place = row * across + first - columns.start;
                result[place..place + count].copy_from_slice(&sums[..count]);
            });
        }
    }
}

/// Returns the dot products of a row with some others.
fn dots<const N: usize>(arch: Arch, x: &[u32], rows: [&[u32]; N]) -> [f32; N] {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if super::wide::is_fast(arch) {
        // SAFETY: the CPU has these instructions.
        return unsafe { super::wide::dots(x, rows) };
    }
    arch.dispatch(plain::Dots { x, rows })
}
