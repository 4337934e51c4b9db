//! Products of numbers rounded to bf16, with sums in f32: up to twice as fast as those of f32 where the CPU multiplies bf16.
//!
//! A number of the result is the sum over pairs of columns: first the product of the second numbers of a pair is added, then
//! that of the first, each sum rounded to f32. This is what `vdpbf16ps` computes (on Zen 5, 1.6 million of them compared). Since
//! the product of two bf16 is exact in f32, every CPU can compute the same bits, except for sums below 2^-126, which the
//! instruction makes 0.

mod bf16_rows;
mod plain;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod wide;

use std::ops::Range;

use pulp::Arch;
use pulp::bytemuck::{cast_slice, cast_slice_mut};

use super::matrix::Matrix;
use super::tile::{Finish, ProductSizes, Tile, Tiles, tile_columns, tile_rows};
use super::turned;
use crate::base::instructions::arch;
use crate::base::{parallel, simulated_threads, thread_pool};
use crate::numbers::Fresh;
pub use bf16_rows::Bf16Rows;

/// Rows of x, and columns of the result, whose sums are in registers together. (Measured on Zen 5 with 640 and 2048 numbers a
/// row: 14 rows, or 48 columns, are as fast.)
const ROWS: usize = 8;
const COLUMNS: usize = 32;
/// Rows of x that lie together: as many as are turned at once. The height of a tile is a multiple of it.
const GROUP: usize = 2 * ROWS;
/// Sums that a dot product of two rows is added up in, side by side.
const LANES: usize = 16;

/// The sums of the rows of a group and some columns.
type Sums = [[f32; COLUMNS]; GROUP];

/// Writes x W^T with its bias and activation function, for x and W rounded to bf16; none of the sizes is 0.
pub(super) fn product(result: &mut Fresh, x: &[f32], weight: &Matrix, sizes: ProductSizes, finish: Finish) {
    let ProductSizes { rows, inner, out } = sizes;
    let arch = arch();
    let x = groups(arch, x, inner);
    let columns = tile_columns(out).next_multiple_of(COLUMNS);
    let height = tile_rows(rows, out.div_ceil(columns));
    let place = result.pointer();
    let tiles = Tiles { rows, out, height, columns };
    simulated_threads::touches(2 * inner * (rows + out) + 4 * rows * out);
    thread_pool::each(tiles.count(), &|number, buffers: &mut Buffers| {
        let tile = tiles.tile(number);
        let Tile { row, column, .. } = tile;
        for first in (column..column + tile.columns).step_by(COLUMNS) {
            let count = COLUMNS.min(column + tile.columns - first);
            buffers.read(arch, weight, first, count, inner);
            each_row(arch, &x, row..row + tile.rows, &buffers.turned, |row, sums| {
                let target = place.at(row * out + first);
                // SAFETY: within the tile, which is ours alone.
                unsafe { target.copy_from_nonoverlapping(sums.as_ptr(), count) };
            });
        }
        tile.finish(arch, place, out, finish);
    });
}

/// Rounds the rows of x and stores them as the sums read them: the rows of a group together, one pair of each after the
/// other.
fn groups(arch: Arch, x: &[f32], inner: usize) -> Vec<u32> {
    let pairs = inner.div_ceil(2);
    let mut result = vec![0; x.len().div_ceil(inner).div_ceil(GROUP) * GROUP * pairs];
    parallel::fill(&mut result, pairs * GROUP, &|first, group| {
        let mut rows = vec![0; GROUP * pairs];
        for (row, place) in x[first / pairs * inner..].chunks_exact(inner).zip(rows.chunks_exact_mut(pairs)) {
            paired(arch, row, place);
        }
        turn(arch, &rows, pairs, group);
    });
    result
}

/// Writes rows of pairs as columns.
fn turn(arch: Arch, rows: &[u32], pairs: usize, columns: &mut [u32]) {
    // A pair has the size of a number, and is moved as one.
    turned::turn(arch, cast_slice(rows), pairs, cast_slice_mut(columns));
}

/// Some rows of a matrix on their way to the sums.
#[derive(Default)]
struct Buffers {
    numbers: Vec<f32>,
    /// Pairs as the matrix has them, row by row.
    pairs: Vec<u32>,
    /// The first pair of each row, then the second of each.
    turned: Vec<u32>,
}

impl Buffers {
    /// Reads `count` rows of the matrix from the row `first` on; those that there are not are 0.
    fn read(&mut self, arch: Arch, weight: &Matrix, first: usize, count: usize, inner: usize) {
        let pairs = inner.div_ceil(2);
        self.pairs.clear();
        self.pairs.resize(COLUMNS * pairs, 0);
        if !weight.copy_pairs(first..first + count, &mut self.pairs) {
            let numbers = weight.part(arch, first * inner, count * inner, &mut self.numbers);
            for (row, place) in numbers.chunks_exact(inner).zip(self.pairs.chunks_exact_mut(pairs)) {
                paired(arch, row, place);
            }
        }
        self.turned.resize(COLUMNS * pairs, 0);
        turn(arch, &self.pairs, pairs, &mut self.turned);
    }
}

/// Rounds a row to bf16 and stores its numbers two by two, the first of each in the lower half.
fn paired(arch: Arch, row: &[f32], pairs: &mut [u32]) {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if wide::is_there(arch) {
        // SAFETY: the CPU has these instructions.
        return unsafe { wide::paired(row, pairs) };
    }
    let _ = arch;
    plain::paired(row, pairs);
}

/// Calls `put` with each of some rows of grouped x, which begin with a group, and its sums with the columns.
fn each_row(arch: Arch, x: &[u32], rows: Range<usize>, columns: &[u32], mut put: impl FnMut(usize, &[f32; COLUMNS])) {
    let pairs = columns.len() / COLUMNS;
    for begin in rows.clone().step_by(GROUP) {
        let group = &x[begin * pairs..(begin + GROUP) * pairs];
        let sums = sums(arch, group, columns, GROUP.min(rows.end - begin));
        for (row, sums) in (begin..rows.end).zip(&sums) {
            put(row, sums);
        }
    }
}

/// Computes the sums of the first rows of a group with some columns.
fn sums(arch: Arch, x: &[u32], columns: &[u32], rows: usize) -> Sums {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if wide::is_fast(arch) {
        // SAFETY: the CPU has these instructions.
        return unsafe { wide::sums(x, columns, rows) };
    }
    arch.dispatch(plain::Products { x, columns, rows })
}

#[cfg(test)]
mod tests;
