//! A matrix as it is stored, and its numbers as products read them.

use std::ops::Range;

use candle_core::{CpuStorage, Storage, StorageRef, Tensor};
use pulp::Arch;

use super::dots::aligned;
use super::half_precision::Halves;
use super::int8::Form;
use super::packed::{PackedMatrix, Rounding};
use crate::base::error::{Result, bail};

/// Numbers that stay in the first cache: 16 KiB.
const NEAR: usize = 1 << 12;

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
    pub(super) fn dot(&self, arch: Arch, rows: Range<usize>, x: &[f32], put: impl FnMut(usize, f32)) -> bool {
        match self {
            Self::Numbers { begin, .. } => match self.halves() {
                Some(halves) => halves.part(begin + rows.start * x.len()..begin + rows.end * x.len()).dot(arch, x, put),
                None => false,
            },
            Self::Packed(packed) => packed.dot(arch, rows, x, put),
        }
    }

    /// Returns the bytes that this many of the matrix's numbers, all of a packed one, are stored in.
    pub(super) fn bytes(&self, numbers: usize) -> usize {
        match self {
            Self::Numbers { storage, .. } => numbers * storage.dtype().size_in_bytes(),
            Self::Packed(packed) => packed.bytes(),
        }
    }

    /// Returns whether products round what they read to bf16, as the matrix is.
    pub(super) fn rounds(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.rounding() == Some(Rounding::Bf16))
    }

    /// Returns the matrix and the form of its integers, if products multiply these.
    pub(super) fn integers(&self) -> Option<(&PackedMatrix, Form)> {
        match self {
            Self::Packed(packed) if packed.rounding() == Some(Rounding::Int8) => {
                Some((packed, Form::of(packed.packing())?))
            }
            _ => None,
        }
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
    pub(super) fn at_once(&self, inner: usize, rows: usize) -> usize {
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
