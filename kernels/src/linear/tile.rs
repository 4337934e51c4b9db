//! Tiles of a product: their sizes, and what follows before their numbers are written.

use pulp::{Arch, Simd, WithSimd};

use super::activation::with_activation;
use super::factor::{Factor, Onto, multiply};
use crate::arguments::activation::Activation;
use crate::base::parallel::threads;
use crate::numbers::OutputPointer;
use crate::numbers::elementwise::UnaryFunction;

/// A tile of a product: its weights are packed once for all its rows, and it is still in the cache when it is
/// finished. (Measured: strips of 128 columns over 2048 rows are as fast as `gemm` on the whole, and faster with more
/// in one go, slower with fewer rows.)
const TILE_ROWS: usize = 2048;
const TILE_COLUMNS: usize = 128;

#[derive(Clone, Copy)]
pub(crate) struct ProductSizes {
    pub rows: usize,
    pub inner: usize,
    pub out: usize,
}

/// The operations that follow the product before it is written: a bias and an activation function.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub bias: Option<&'a [f32]>,
    pub act: Option<Activation>,
}

/// Returns the width of tiles, which makes strips of equal width, a multiple of the number of threads.
pub(super) fn tile_columns(out: usize) -> usize {
    let strips = out.div_ceil(TILE_COLUMNS).next_multiple_of(threads());
    out.div_ceil(strips).next_multiple_of(16)
}

/// Returns the height of tiles, which is smaller where there would be too few tiles for the threads.
pub(super) fn tile_rows(rows: usize, across: usize) -> usize {
    let down = (2 * threads()).div_ceil(across).max(rows.div_ceil(TILE_ROWS));
    rows.div_ceil(down).next_multiple_of(16)
}

#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
}

/// The division of a product into tiles of a height and of a width, those at the ends cut off.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub rows: usize,
    pub out: usize,
    pub height: usize,
    pub columns: usize,
}

impl Tiles {
    pub fn count(self) -> usize {
        self.out.div_ceil(self.columns) * self.rows.div_ceil(self.height)
    }

    /// Returns the tile of a number below the count: all of a strip of columns, then those of the next.
    pub fn tile(self, number: usize) -> Tile {
        let down = self.rows.div_ceil(self.height);
        let row = number % down * self.height;
        let column = number / down * self.columns;
        Tile { row, column, rows: self.height.min(self.rows - row), columns: self.columns.min(self.out - column) }
    }
}

impl Tile {
    /// Writes the product of the rows of x and of the turned weights that belong to this tile.
    pub fn multiply(self, place: OutputPointer, x: &[f32], weight: Factor, sizes: ProductSizes) {
        let x = Factor { numbers: x, row: sizes.inner as isize, column: 1 };
        let target = place.at(self.row * sizes.out + self.column);
        // SAFETY: the slices hold whole rows of both, and the tile lies within the result and is ours alone.
        unsafe { multiply(target, sizes.out, [self.rows, self.columns, sizes.inner], 1.0, x, weight, Onto::Nothing) };
    }

    /// Adds the bias to the tile's numbers, and applies the activation function to them.
    pub fn finish(self, arch: Arch, place: OutputPointer, out: usize, finish: Finish) {
        if let (None, None) = (finish.bias, finish.act) {
            return;
        }
        let bias = finish.bias.map(|bias| &bias[self.column..self.column + self.columns]);
        for row in self.row..self.row + self.rows {
            // SAFETY: within the tile, which is ours alone and has been written.
            let numbers = unsafe { place.part(row * out + self.column, self.columns) };
            match finish.act {
                None => arch.dispatch(FinishRow { numbers, bias, function: Same }),
                Some(act) => with_activation!(act, function => arch.dispatch(FinishRow { numbers, bias, function })),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Same;

impl UnaryFunction for Same {
    #[inline(always)]
    fn of<S: Simd>(self, _simd: S, x: S::f32s) -> S::f32s {
        x
    }
}

struct FinishRow<'a, F> {
    numbers: &'a mut [f32],
    bias: Option<&'a [f32]>,
    function: F,
}

impl<F: UnaryFunction> WithSimd for FinishRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { numbers, bias, function } = self;
        let Some(bias) = bias else {
            return crate::numbers::elementwise::Replace(numbers, function).with_simd(simd);
        };
        let (whole, rest) = S::as_mut_simd_f32s(numbers);
        let (bias_whole, bias_rest) = S::as_simd_f32s(bias);
        for (x, b) in whole.iter_mut().zip(bias_whole) {
            *x = function.of(simd, simd.add_f32s(*x, *b));
        }
        if !rest.is_empty() {
            let sum = simd.add_f32s(simd.partial_load_f32s(rest), simd.partial_load_f32s(bias_rest));
            simd.partial_store_f32s(rest, function.of(simd, sum));
        }
    }
}
