//! The matrix product of linear maps: in tiles for many rows, by dot products for the few rows of prompts and of generation.

use pulp::Arch;

use super::bf16;
use super::dots::{aligned, dots};
use super::int8;
use super::matrix::Matrix;
use super::rounded;
use super::tile::{Finish, ProductSizes, Tile, Tiles, tile_columns, tile_rows};
use super::turned::turned;
use crate::base::instructions::arch;
use crate::base::{simulated_threads, thread_pool};
use crate::numbers::Fresh;

/// Rows that are read for each part of the weights while that is in the first cache.
const ROWS_AT_ONCE: usize = 8;

/// Writes x W^T with its bias and activation function.
pub(crate) fn product(result: &mut Fresh, x: &[f32], weight: &Matrix, sizes: ProductSizes, finish: Finish) {
    let ProductSizes { rows, inner, out } = sizes;
    if rows * out == 0 {
        return;
    }
    let arch = arch();
    let place = result.pointer();
    if let Some((weight, form)) = weight.integers().filter(|_| inner > 0) {
        return int8::product(result, x, weight, form, sizes, finish);
    }
    let few = rows <= few_rows(arch, weight) && inner > 0;
    if weight.rounds() && !few && inner > 0 {
        return rounded::product(result, x, weight, sizes, finish);
    }
    let mut copy = Vec::new();
    let x: &[f32] = if few {
        let copy = aligned(&mut copy, x.len());
        copy.copy_from_slice(x);
        if weight.rounds() {
            bf16::round(copy);
        }
        copy
    } else {
        x
    };
    let columns = if few { strip(inner) } else { tile_columns(out) };
    let height = if few { rows } else { tile_rows(rows, out.div_ceil(columns)) };
    let tiles = Tiles { rows, out, height, columns };
    let tile = |number: usize, buffer: &mut Vec<f32>, turning: &mut Vec<f32>| {
        let tile = tiles.tile(number);
        let Tile { row, column, .. } = tile;
        let x = &x[row * inner..(row + tile.rows) * inner];
        let whole = column..column + tile.columns;
        // SAFETY: within the tile, which is ours alone.
        let put = |row: usize, sum: f32| unsafe { *place.at(column + row) = sum };
        if rows == 1 && weight.dot(arch, whole, x, put) {
            // Written.
        } else if few {
            let at_once = weight.at_once(inner, tile.columns);
            for first in (0..tile.columns).step_by(at_once) {
                let count = at_once.min(tile.columns - first);
                let weight = weight.part(arch, (column + first) * inner, count * inner, buffer);
                for (part, x) in x.chunks(ROWS_AT_ONCE * inner).enumerate() {
                    dots(arch, x, weight, inner, |x_row, weight_row, sum| {
                        let row = row + part * ROWS_AT_ONCE + x_row;
                        // SAFETY: within the tile, which is ours alone.
                        unsafe { *place.at(row * out + column + first + weight_row) = sum };
                    });
                }
            }
        } else {
            let weight = weight.part(arch, column * inner, tile.columns * inner, buffer);
            tile.multiply(place, x, turned(arch, weight, inner, turning), sizes);
        }
        tile.finish(arch, place, out, finish);
    };
    if tiles.count() == 1 {
        tile(0, &mut Vec::new(), &mut Vec::new());
    } else {
        let each = |number, [buffer, turning]: &mut [Vec<f32>; 2]| tile(number, buffer, turning);
        simulated_threads::touches(4 * rows * (inner + out) + weight.bytes(inner * out));
        thread_pool::each(tiles.count(), &each);
    }
}

/// Returns the number of rows up to which dot products are at least as fast as tiles, whose weights are packed first.
///
/// Measured with AVX-512: at 9 to 16 rows dot products are 1.6 to 2 times as fast, whether the weights are f32 or packed; about as
/// fast at 40 and 48; slower from 56 on. By AVX2, which adds half as many sums in its registers, tiles are as fast at 12 rows, 1.0
/// to 1.4 times at 16, and 1.2 to 1.9 times at 32. There rounded weights have tiles without an instruction of their own, which
/// take longer than dot products at all of these.
fn few_rows(arch: Arch, weight: &Matrix) -> usize {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) if !weight.rounds() => 12,
        _ => 32,
    }
}

/// Returns how many rows of weights one thread takes at a time for few rows of x: about 64 KiB of them.
fn strip(inner: usize) -> usize {
    ((1 << 14) / inner.max(1)).clamp(8, 1 << 12)
}
