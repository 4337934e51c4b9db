//! The matrix product of linear maps: in tiles for many rows, by dot products for the few rows of prompts and of generation.

use std::ops::Range;

use candle_core::{CpuStorage, Storage, StorageRef, Tensor};
use gemm::Parallelism;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::activation::with_activation;
use super::dots::{aligned, dots};
use super::half_precision::Halves;
use super::packed::PackedMatrix;
use super::rounded;
use super::turned::turned;
use crate::arguments::activation::Activation;
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::thread_pool;
use crate::numbers::elementwise::UnaryFunction;
use crate::numbers::{Fresh, OutputPointer};

/// Number of rows up to which dot products are at least as fast as tiles, whose weights are packed first. (Measured, with
/// AVX-512: at 9 to 16 rows 1.6 to 2 times as fast, whether the weights are f32 or packed; about as fast at 40 and 48; slower from
/// 56 on.)
const FEW_ROWS: usize = 32;
/// Number of these that are read for each part of the weights while that is in the first cache.
const ROWS_AT_ONCE: usize = 8;
/// Numbers that stay in the first cache: 16 KiB.
const NEAR: usize = 1 << 12;
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

/// A matrix `[out, in]` as it is stored.
pub(crate) enum Matrix<'a> {
    Numbers { storage: StorageRef<'a>, begin: usize },
    Packed(&'a PackedMatrix),
}

impl<'a> Matrix<'a> {
    /// Returns the matrix of a contiguous tensor.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((begin, _)) = layout.contiguous_offsets() else {
            bail!(Bug, "expected a matrix without gaps, found strides {:?}", layout.stride());
        };
        Ok(Self::Numbers { storage, begin })
    }

    /// Calls `put` with the dot products of one row of x with some of the matrix's rows; false if they are needed in
    /// f32 in memory.
    fn dot(&self, arch: Arch, rows: Range<usize>, x: &[f32], put: impl FnMut(usize, f32)) -> bool {
        match self {
            Self::Numbers { begin, .. } => match self.halves() {
                Some(halves) => halves.part(begin + rows.start * x.len()..begin + rows.end * x.len()).dot(arch, x, put),
                None => false,
            },
            Self::Packed(packed) => packed.dot(arch, rows, x, put),
        }
    }

    /// Returns whether products round what they read to bf16, as the matrix is.
    fn rounds(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.rounds())
    }

    /// Copies some of the matrix's rows, two numbers of bf16 in each place, one row after the other; false if they are
    /// not stored so.
    pub(super) fn copy_pairs(&self, rows: Range<usize>, pairs: &mut [u32]) -> bool {
        matches!(self, Self::Packed(packed) if packed.copy_pairs(rows, pairs))
    }

    /// Returns all numbers of the matrix's storage, if they are of 16 bits.
    fn halves(&self) -> Option<Halves<'_>> {
        match self {
            Self::Numbers { storage, .. } => match &**storage {
                Storage::Cpu(storage) => Halves::of(storage),
                _ => None,
            },
            Self::Packed(_) => None,
        }
    }

    /// Returns how many of a strip's rows are made f32 at once for dot products: as many as stay in the first cache, or
    /// all, if they are f32. They are at least two, which need fewer loads together.
    fn at_once(&self, inner: usize, rows: usize) -> usize {
        match self {
            Self::Numbers { .. } if self.halves().is_none() => rows,
            _ => (NEAR / inner.max(1)).max(2).min(rows),
        }
    }

    /// Returns the numbers `begin..begin + len` in f32, of whole rows, converted in `buffer` if they are stored
    /// otherwise.
    pub fn part<'b>(&'b self, arch: Arch, begin: usize, len: usize, buffer: &'b mut Vec<f32>) -> &'b [f32] {
        let (storage, range) = match self {
            Self::Numbers { storage, begin: first } => (storage, first + begin..first + begin + len),
            Self::Packed(packed) => {
                let numbers = aligned(buffer, len);
                packed.decode(arch, begin / packed.dims()[1], numbers);
                return numbers;
            }
        };
        let Storage::Cpu(storage) = &**storage else { return &[] };
        if let CpuStorage::F32(all) = storage {
            return &all[range];
        }
        let numbers = aligned(buffer, len);
        if let Some(halves) = Halves::of(storage) {
            halves.part(range).widen(arch, numbers);
        }
        numbers
    }
}

/// Writes x W^T with its bias and activation function.
pub(crate) fn product(result: &mut Fresh, x: &[f32], weight: &Matrix, sizes: ProductSizes, finish: Finish) {
    let ProductSizes { rows, inner, out } = sizes;
    if rows * out == 0 {
        return;
    }
    let arch = arch();
    let place = result.pointer();
    let few = rows <= FEW_ROWS && inner > 0;
    if weight.rounds() && !few && inner > 0 {
        return rounded::product(result, x, weight, sizes, finish);
    }
    let mut copy = Vec::new();
    let x: &[f32] = if few {
        let copy = aligned(&mut copy, x.len());
        copy.copy_from_slice(x);
        if weight.rounds() {
            rounded::round(copy);
        }
        copy
    } else {
        x
    };
    let columns = if few { strip(inner) } else { tile_columns(out) };
    let height = if few { rows } else { tile_rows(rows, out.div_ceil(columns)) };
    let across = out.div_ceil(columns);
    let down = rows.div_ceil(height);
    let tile = |index: usize, buffer: &mut Vec<f32>, turning: &mut Vec<f32>| {
        let row = index % down * height;
        let column = index / down * columns;
        let tile = Tile { row, column, rows: height.min(rows - row), columns: columns.min(out - column) };
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
    if across * down == 1 {
        tile(0, &mut Vec::new(), &mut Vec::new());
    } else if few {
        thread_pool::each(across * down, &|index, buffer| tile(index, buffer, &mut Vec::new()));
    } else {
        let each = |[buffer, turning]: &mut [Vec<f32>; 2], index: usize| tile(index, buffer, turning);
        (0..across * down).into_par_iter().for_each_init(Default::default, each);
    }
}

/// Returns how many rows of weights one thread takes at a time for few rows of x: about 64 KiB of them.
fn strip(inner: usize) -> usize {
    ((1 << 14) / inner.max(1)).clamp(8, 1 << 12)
}

/// Returns the width of tiles, which makes strips of equal width, a multiple of the number of threads.
pub(super) fn tile_columns(out: usize) -> usize {
    let strips = out.div_ceil(TILE_COLUMNS).next_multiple_of(rayon::current_num_threads());
    out.div_ceil(strips).next_multiple_of(16)
}

/// Returns the height of tiles, which is smaller where there would be too few tiles for the threads.
pub(super) fn tile_rows(rows: usize, across: usize) -> usize {
    let down = (2 * rayon::current_num_threads()).div_ceil(across).max(rows.div_ceil(TILE_ROWS));
    rows.div_ceil(down).next_multiple_of(16)
}

#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub row: usize,
    pub column: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Tile {
    /// Writes the product of the rows of x and of the turned weights that belong to this tile.
    fn multiply(self, place: OutputPointer, x: &[f32], weight: Factor, sizes: ProductSizes) {
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

/// One factor of a product: numbers, and the strides of rows and columns.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    pub numbers: &'a [f32],
    pub row: isize,
    pub column: isize,
}

impl Factor<'_> {
    /// Returns the part from a row and a column on.
    pub fn from(self, row: usize, column: usize) -> Self {
        let begin = row * self.row.unsigned_abs() + column * self.column.unsigned_abs();
        Self { numbers: self.numbers.get(begin..).unwrap_or_default(), ..self }
    }

    /// Returns the transposed factor.
    pub fn turned(self) -> Self {
        Self { numbers: self.numbers, row: self.column, column: self.row }
    }
}

/// The target of a product: memory that it is written to, or numbers that it is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    Nothing,
    WhatIsThere,
}

/// Writes scale * a b, for a `[m, k]` and b `[k, n]`, on this thread.
///
/// # Safety
/// The target has m rows of n numbers, `step` apart, which nobody else uses; it need not be initialised unless the
/// product is added to it. The factors hold the numbers that the sizes and their strides say.
pub(crate) unsafe fn multiply(
    target: *mut f32,
    step: usize,
    [m, n, k]: [usize; 3],
    scale: f32,
    a: Factor,
    b: Factor,
    onto: Onto,
) {
    let step = step as isize;
    let read = onto == Onto::WhatIsThere;
    let old = if read { 1.0 } else { 0.0 };
    let left = a.numbers.as_ptr();
    let right = b.numbers.as_ptr();
    let none = Parallelism::None;
    // SAFETY: as above; the target is read only where it is added to.
    unsafe {
        gemm::gemm(
            m, n, k, target, 1, step, read, left, a.column, a.row, right, b.column, b.row, old, scale, false, false,
            false, none,
        );
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
