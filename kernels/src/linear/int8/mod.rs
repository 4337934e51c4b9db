//! Products of integers: rows rounded to int8, 127 steps to the largest number of a block, with quantised matrices as they are.
//!
//! Sums of a group's products are integers, which every CPU computes alike (`vpdpbusd` adds four of them at once); scales are
//! applied in f32, in an order that does not depend on the CPU. So all CPUs have the same bits, except those of NaN.
//!
//! A few rows are multiplied with the blocks as these come from memory. For more, a strip of the matrix is unpacked once and
//! multiplied with all rows of a tile.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod form;
mod plain;
mod rows;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod weights;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod wide;

use std::ops::Range;

use pulp::Arch;

use super::packed::PackedMatrix;
#[cfg(target_arch = "x86_64")]
use super::packed::Packing;
use super::tile::{Finish, ProductSizes, Tile, Tiles, tile_columns, tile_rows};
use crate::base::instructions::arch;
use crate::base::{parallel, simulated_threads, thread_pool};
use crate::numbers::{Fresh, OutputPointer};
pub(super) use form::Form;
use rows::{Row, RowBlock};
use weights::{Strip, WeightRow};

/// Rows up to which dot products are taken. (Not measured: by the count of instructions, unpacking a strip costs as much as
/// some five rows of dot products.)
const FEW: usize = 4;
/// Integers that an instruction multiplies and adds at a time.
const QUAD: usize = 4;
/// Sums of four products each that are in a register of AVX-512 together, and the numbers behind them.
const LANES: usize = 16;
const CHUNK: usize = LANES * QUAD;
/// Registers of sums of a dot product, to which chunks are added in turn, and the numbers of a round.
const SUMS: usize = 2;
const ROUND: usize = SUMS * CHUNK;
/// Sums of groups' least numbers.
const GROUPS: usize = 8;
/// Rows of x, and columns of the result, whose sums are in registers together.
const ROWS: usize = 6;
const COLUMNS: usize = 32;
/// Rows of the matrix whose sums of lanes are added up together.
const FOLDED: usize = 4;
/// Numbers of the matrix in a part of the work for few rows: one or two microseconds.
const STRIP: usize = 1 << 15;

/// The sums of some rows and columns.
type Sums = [[f32; COLUMNS]; ROWS];

/// A product of rows with a matrix.
struct Product<'a> {
    arch: Arch,
    weight: &'a PackedMatrix,
    form: Form,
    sizes: ProductSizes,
    finish: Finish<'a>,
    place: OutputPointer,
}

/// Writes x W^T with its bias and activation function, for x rounded to int8. No size is 0.
pub(super) fn product(
    result: &mut Fresh,
    x: &[f32],
    weight: &PackedMatrix,
    form: Form,
    sizes: ProductSizes,
    finish: Finish,
) {
    let product = Product { arch: arch(), weight, form, sizes, finish, place: result.pointer() };
    if sizes.rows <= FEW { product.few(x) } else { product.many(x) }
}

impl Product<'_> {
    fn few(&self, x: &[f32]) {
        let ProductSizes { rows, inner, out } = self.sizes;
        let x: Vec<Row> = x.chunks_exact(inner).map(|x| Row::of(self.arch, x, self.form)).collect();
        let columns = (STRIP / inner).clamp(8, 1 << 12).next_multiple_of(FOLDED);
        let strip = |index: usize| {
            let column = index * columns;
            let tile = Tile { row: 0, column, rows, columns: columns.min(out - column) };
            self.dots(column..column + tile.columns, &x, |row, at, sum| {
                // SAFETY: within the tile, which is ours alone.
                unsafe { *self.place.at(row * out + column + at) = sum * self.weight.factor() };
            });
            tile.finish(self.arch, self.place, out, self.finish);
        };
        match out.div_ceil(columns) {
            1 => strip(0),
            strips => {
                self.touches();
                thread_pool::each(strips, &|index, (): &mut ()| strip(index));
            }
        }
    }

    /// Notes the bytes of the matrix, of the integers that x is rounded to, and of the result.
    fn touches(&self) {
        let ProductSizes { rows, inner, out } = self.sizes;
        simulated_threads::touches(self.weight.bytes() + rows * inner + 4 * rows * out);
    }

    /// Calls `put(row of x, row of the matrix from the first one on, dot product)` for some rows of the matrix.
    fn dots(&self, rows: Range<usize>, x: &[Row], mut put: impl FnMut(usize, usize, f32)) {
        let Self { arch, weight, form, sizes, .. } = *self;
        let blocks = weight.blocks(rows.clone());
        let bytes = blocks.len() / rows.len();
        #[cfg(target_arch = "x86_64")]
        if !matches!(weight.packing(), Packing::Q4_1 | Packing::Q5_1) {
            #[cfg(feature = "avx512")]
            if wide::is_there(arch) {
                // SAFETY: the CPU has these instructions.
                let found = |blocks: &[u8]| unsafe { wide::dots(weight.packing(), blocks, bytes, x) };
                return by_fours(blocks, bytes, x.len(), found, put);
            }
            if avx2::is_there(arch) {
                // SAFETY: as above.
                let found = |blocks: &[u8]| unsafe { avx2::dots(weight.packing(), blocks, bytes, x) };
                return by_fours(blocks, bytes, x.len(), found, put);
            }
        }
        let mut unpacked = WeightRow::default();
        for (at, blocks) in blocks.chunks_exact(bytes).enumerate() {
            unpacked.read(arch, weight.packing(), blocks, sizes.inner, form);
            for (row, x) in x.iter().enumerate() {
                put(row, at, dot(arch, x, &unpacked, form));
            }
        }
    }

    fn many(&self, x: &[f32]) {
        let Self { arch, weight, form, sizes, place, .. } = *self;
        let ProductSizes { rows, inner, out } = sizes;
        let blocks = parallel::of_each_short(0..rows.div_ceil(ROWS), &|block| {
            RowBlock::of(arch, &x[block * ROWS * inner..], inner, form)
        });
        let columns = tile_columns(out).next_multiple_of(COLUMNS);
        let height = tile_rows(rows, out.div_ceil(columns)).next_multiple_of(ROWS);
        let tiles = Tiles { rows, out, height, columns };
        self.touches();
        thread_pool::each(tiles.count(), &|number, strip: &mut Strip| {
            let tile = tiles.tile(number);
            let Tile { row, column, .. } = tile;
            let blocks = &blocks[row / ROWS..(row + tile.rows).div_ceil(ROWS)];
            for first in (column..column + tile.columns).step_by(COLUMNS) {
                let count = COLUMNS.min(column + tile.columns - first);
                strip.read(arch, weight, first..first + count, form);
                for (at, x) in blocks.iter().enumerate() {
                    let begin = at * ROWS;
                    for (at, sums) in sums(arch, x, strip, form).iter().take(tile.rows - begin).enumerate() {
                        // SAFETY: within the tile, which is ours alone.
                        let numbers = unsafe { place.part((row + begin + at) * out + first, count) };
                        for (number, sum) in numbers.iter_mut().zip(sums) {
                            *number = sum * weight.factor();
                        }
                    }
                }
            }
            tile.finish(arch, place, out, self.finish);
        });
    }
}

/// Calls `put(row of x, row of the blocks, dot product)` for rows of so many bytes, where `dots` computes the products of up to
/// four of them.
#[cfg(target_arch = "x86_64")]
fn by_fours(
    blocks: &[u8],
    row: usize,
    rows_of_x: usize,
    dots: impl Fn(&[u8]) -> [[f32; FOLDED]; FEW],
    mut put: impl FnMut(usize, usize, f32),
) {
    for (at, blocks) in blocks.chunks(FOLDED * row).enumerate() {
        for (of_x, found) in dots(blocks).iter().take(rows_of_x).enumerate() {
            for (of_blocks, found) in found.iter().take(blocks.len() / row).enumerate() {
                put(of_x, FOLDED * at + of_blocks, *found);
            }
        }
    }
}

/// Computes a dot product of integers.
fn dot(arch: Arch, x: &Row, weight: &WeightRow, form: Form) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if tiles::are_there(arch) {
        // SAFETY: the CPU has these instructions.
        return unsafe { tiles::dot(x, weight, form) };
    }
    arch.dispatch(plain::Dot { x, weight, form })
}

/// Computes the sums of a block of rows with some columns.
fn sums(arch: Arch, x: &RowBlock, strip: &Strip, form: Form) -> Sums {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if wide::is_there(arch) {
        // SAFETY: the CPU has these instructions.
        return unsafe { tiles::by_512_bits(x, strip, form) };
    }
    #[cfg(target_arch = "x86_64")]
    if tiles::are_there(arch) {
        // SAFETY: as above.
        return unsafe { tiles::by_256_bits(x, strip, form) };
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(arch, Arch::V3(_)) {
        // SAFETY: as above.
        return unsafe { tiles::by_avx2(x, strip, form) };
    }
    arch.dispatch(plain::Products { x, strip, form })
}

#[cfg(test)]
mod tests;
