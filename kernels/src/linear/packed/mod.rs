//! Matrices that stay quantised while they compute: blocks of small integers that share a scale, as GGUF files have them.
//!
//! The integers become f32 a strip at a time, in the cache, by the same arithmetic as on loading, so that a product has the
//! numbers that it would have with the whole matrix in f32, in a fraction of its memory.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
pub(super) mod blocks;
mod map;
mod pack;
#[cfg(target_arch = "x86_64")]
mod registers;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
pub(super) mod wide;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use pulp::Arch;

use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::linear::bf16;
use crate::numbers::Fresh;
pub use blocks::Packing;
pub use map::linear_packed;

/// A matrix `[out, in]` in blocks along its rows.
#[derive(Clone)]
pub struct PackedMatrix {
    packing: Packing,
    inner: usize,
    /// Memory, or a mapped file, which lives as long as this does.
    all: Arc<dyn AsRef<[u8]> + Send + Sync>,
    place: Range<usize>,
    /// A power of two that all numbers of the matrix are multiplied with; 1 for a matrix of a file.
    factor: f32,
    /// Rounding of the rows that products read, if they round.
    rounding: Option<Rounding>,
}

/// Precision to which products with a matrix round the rows that they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Numbers of bf16, as the matrix then has, too.
    Bf16,
    /// Integers of 8 bits, in steps of a block; the matrix stays as it is.
    Int8,
}

impl Rounding {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl PackedMatrix {
    /// Returns the matrix of `rows` rows of `inner` numbers whose blocks begin at `begin`; None if rows are no whole
    /// blocks, or if the memory ends before.
    pub fn new(
        packing: Packing,
        [rows, inner]: [usize; 2],
        all: Arc<dyn AsRef<[u8]> + Send + Sync>,
        begin: usize,
    ) -> Option<Self> {
        let bytes = rows.checked_mul(packing.row(inner)?)?;
        let end = begin.checked_add(bytes)?;
        let fits = inner > 0 && end <= (*all).as_ref().len();
        fits.then_some(Self { packing, inner, all, place: begin..end, factor: 1.0, rounding: None })
    }

    /// Returns the matrix rounded to bf16. Products with it round what they read, too, and add in f32.
    pub fn rounded(self) -> Self {
        Self { rounding: Some(Rounding::Bf16), ..self }
    }

    /// Returns the same matrix, with which products round what they read to int8 and multiply integers; None for bf16, whose
    /// numbers share no scale.
    pub fn by_int8(self) -> Option<Self> {
        (self.packing != Packing::Bf16).then_some(Self { rounding: Some(Rounding::Int8), ..self })
    }

    /// Returns to what products round what they read, if they do.
    pub fn rounding(&self) -> Option<Rounding> {
        self.rounding
    }

    /// Returns the power of two that all numbers of the blocks are multiplied with.
    pub(crate) fn factor(&self) -> f32 {
        self.factor
    }

    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns the shape `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.place.len() / self.row(), self.inner]
    }

    /// Returns the size of the blocks.
    pub fn bytes(&self) -> usize {
        self.place.len()
    }

    /// Returns some of the matrix's rows, in the memory of the whole.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        let [rows, _] = self.dims();
        if start.checked_add(count).is_none_or(|end| end > rows) {
            bail!(Bug, "expected rows of {rows}, found {count} from {start} on");
        }
        let begin = self.place.start + start * self.row();
        Ok(Self { place: begin..begin + count * self.row(), ..self.clone() })
    }

    /// Returns the whole matrix as f32, `[out, in]`.
    pub fn tensor(&self) -> Result<Tensor> {
        let [rows, inner] = self.dims();
        let mut numbers = Fresh::new(rows * inner)?;
        let arch = arch();
        numbers.write(inner, inner, |first, numbers| self.decode(arch, first, numbers));
        numbers.tensor(&[rows, inner], DType::F32)
    }

    /// Returns the rows `ids`, u32: `[ids, in]`.
    pub fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        let [rows, inner] = self.dims();
        let ids = ids.to_vec1::<u32>()?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            bail!(Argument, "expected rows below {rows}, found {id}");
        }
        let mut numbers = Fresh::new(ids.len() * inner)?;
        let arch = arch();
        numbers.write(inner, inner, |first, numbers| {
            for (id, row) in ids[first..].iter().zip(numbers.chunks_exact_mut(inner)) {
                self.decode(arch, *id as usize, row);
            }
        });
        numbers.tensor(&[ids.len(), inner], DType::F32)
    }

    /// Writes the numbers of whole rows from the row `first` on.
    pub(crate) fn decode(&self, arch: Arch, first: usize, numbers: &mut [f32]) {
        let packing = self.packing;
        let blocks = self.blocks(first..first + numbers.len() / self.inner);
        let is_done = match arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => avx2::decode(simd, packing, blocks, numbers),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Arch::V4(simd) => wide::decode(simd, packing, blocks, numbers),
            _ => false,
        };
        if !is_done {
            arch.dispatch(blocks::Decode { packing, blocks, numbers });
        }
        if self.factor != 1.0 {
            numbers.iter_mut().for_each(|x| *x *= self.factor);
        }
        if !self.is_as_stored() {
            bf16::round(numbers);
        }
    }

    /// Calls `put(row, dot product of x with it)` for some rows; false if there is no faster way for that than through f32 in
    /// memory, whose bits it has.
    pub(crate) fn dot(&self, arch: Arch, rows: Range<usize>, x: &[f32], mut put: impl FnMut(usize, f32)) -> bool {
        if !self.is_as_stored() {
            return false;
        }
        let blocks = self.blocks(rows);
        let put = |row, sum: f32| put(row, sum * self.factor);
        match arch {
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => avx2::dot(simd, self.packing, blocks, x, put),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Arch::V4(simd) => wide::dot(simd, self.packing, blocks, x, put),
            _ => {
                let _ = (blocks, x, put);
                false
            }
        }
    }

    /// Returns whether the blocks say the matrix's numbers without another step.
    fn is_as_stored(&self) -> bool {
        self.rounding != Some(Rounding::Bf16) || self.packing == Packing::Bf16
    }

    /// Copies some rows, two numbers of bf16 in each place; false if they are stored otherwise.
    pub(crate) fn copy_pairs(&self, rows: Range<usize>, pairs: &mut [u32]) -> bool {
        let is_so = self.packing == Packing::Bf16 && self.inner.is_multiple_of(2);
        if is_so {
            for (place, pair) in pairs.iter_mut().zip(self.blocks(rows).as_chunks().0) {
                *place = u32::from_le_bytes(*pair);
            }
        }
        is_so
    }

    /// Returns the blocks of some rows.
    pub(crate) fn blocks(&self, rows: Range<usize>) -> &[u8] {
        let begin = self.place.start;
        let row = self.row();
        // A mapped file that another program cut short has fewer bytes than it had: the system ends us before this does.
        &(*self.all).as_ref()[begin + rows.start * row..begin + rows.end * row]
    }

    /// Returns the bytes of a row.
    fn row(&self) -> usize {
        let (numbers, bytes) = self.packing.block();
        self.inner / numbers * bytes
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.packing.name(), self.dims())
    }
}

#[cfg(test)]
pub(super) mod tests;
