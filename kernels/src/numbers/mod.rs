//! The numbers of tensors as slices, memory for results, and the split of work over threads; functions of numbers in
//! vector registers.

pub(crate) mod elementwise;
pub(crate) mod math;
pub(crate) mod softmax;

use candle_core::{CpuStorage, DType, Device, Storage, StorageRef, Tensor};

use crate::base::error::{Result, bail};
use crate::base::{memory, parallel};

/// Number of elements from which threads are worth it.
const WORTH_THREADS: usize = 1 << 14;
/// Numbers in a piece of work: large compared with the cost of scheduling, and small enough for the cache.
const PIECE: usize = 1 << 15;

/// The way a result is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Implementation {
    /// Fused loops: in CPU memory, f32 or narrower, without gradients.
    Fused,
    /// Fused loops, recorded with their own backward pass: all in f32 in CPU memory.
    Recorded,
    /// candle's operations.
    Plain,
}

impl Implementation {
    pub fn of(tensors: &[&Tensor]) -> Self {
        if !tensors.iter().all(|tensor| matches!(tensor.device(), Device::Cpu)) {
            return Self::Plain;
        }
        if tensors.iter().any(|tensor| tensor.track_op()) {
            let all_f32 = tensors.iter().all(|tensor| tensor.dtype() == DType::F32);
            return if all_f32 { Self::Recorded } else { Self::Plain };
        }
        let narrow = |tensor: &&Tensor| matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16);
        if tensors.iter().all(narrow) { Self::Fused } else { Self::Plain }
    }
}

/// Returns whether fused loops without a backward pass may take these tensors.
pub(super) fn fusible(tensors: &[&Tensor]) -> bool {
    Implementation::of(tensors) == Implementation::Fused
}

/// Returns the tensor as contiguous f32, detached; it is copied only if it is not so already.
pub fn flat(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach().to_dtype(DType::F32)?.contiguous()?)
}

/// The numbers of a [`flat`] tensor.
pub struct FlatNumbers<'a> {
    storage: StorageRef<'a>,
    begin: usize,
    end: usize,
}

impl<'a> FlatNumbers<'a> {
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((begin, end)) = layout.contiguous_offsets() else {
            bail!(Bug, "expected a tensor without gaps, found strides {:?}", layout.stride());
        };
        let numbers = Self { storage, begin, end };
        match &*numbers.storage {
            Storage::Cpu(CpuStorage::F32(all)) if end <= all.len() => Ok(numbers),
            _ => bail!(Bug, "expected numbers in f32 in the CPU's memory, found {:?}", tensor.dtype()),
        }
    }

    pub fn slice(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.begin..self.end],
            _ => &[],
        }
    }
}

/// The numbers of a tensor whose last axis is contiguous, and the strides of its other axes.
pub(super) struct StridedNumbers<'a> {
    storage: StorageRef<'a>,
    begin: usize,
    strides: [usize; 3],
}

impl<'a> StridedNumbers<'a> {
    /// Returns the numbers of a tensor `[rows, columns, heads, d_head]` in f32, made by [`with_whole_heads`].
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let &[row, column, head, _] = layout.stride() else {
            bail!(Bug, "expected a tensor of four axes, found {:?}", layout.dims());
        };
        Ok(Self { storage, begin: layout.start_offset(), strides: [row, column, head] })
    }

    /// Returns the stride of columns.
    pub fn step(&self) -> isize {
        self.strides[1] as isize
    }

    /// Returns the numbers from the first one of a head in a column on.
    pub fn from(&self, row: usize, column: usize, head: usize) -> &[f32] {
        let [by_row, by_column, by_head] = self.strides;
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => {
                let begin = self.begin + row * by_row + column * by_column + head * by_head;
                all.get(begin..).unwrap_or_default()
            }
            _ => &[],
        }
    }
}

/// Returns the tensor in f32 with a contiguous last axis; the others need not be, so that a part of a cache is not
/// copied.
pub(super) fn with_whole_heads(tensor: &Tensor) -> Result<Tensor> {
    let tensor = tensor.detach().to_dtype(DType::F32)?;
    Ok(if tensor.stride().last() == Some(&1) { tensor } else { tensor.contiguous()? })
}

/// Uninitialised memory for a result: every number is written before any is read.
pub(super) struct Fresh {
    numbers: Vec<f32>,
    len: usize,
}

impl Fresh {
    pub fn new(len: usize) -> Result<Self> {
        memory::check(4 * len as u128, || format!("a result of {len} numbers"))?;
        let mut numbers = Vec::with_capacity(len);
        use_huge_pages(&mut numbers);
        Ok(Self { numbers, len })
    }

    pub fn pointer(&mut self) -> OutputPointer {
        OutputPointer(self.numbers.as_mut_ptr())
    }

    /// Writes pieces of whole units of `unit` numbers in parallel: `write(first unit, its numbers)` must write all of them.
    /// `cost`: the number of operations for a unit.
    pub fn write(&mut self, unit: usize, cost: usize, write: impl Fn(usize, &mut [f32]) + Sync) {
        // SAFETY: the capacity is `len`, and `write` does not read what it has not written.
        let numbers = unsafe { std::slice::from_raw_parts_mut(self.numbers.as_mut_ptr(), self.len) };
        in_pieces(numbers, unit, cost, write);
    }

    /// Returns the result, all of which has been written.
    pub fn numbers(mut self) -> Vec<f32> {
        // SAFETY: the capacity is `len`, and the kernels write every number.
        unsafe { self.numbers.set_len(self.len) };
        self.numbers
    }

    /// Returns the result in this shape and dtype.
    pub fn tensor(self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.numbers(), shape, &Device::Cpu)?.to_dtype(dtype)?)
    }
}

/// The start of memory that threads write to, each to its own part.
#[derive(Clone, Copy)]
pub(super) struct OutputPointer(*mut f32);

// SAFETY: only an address; the kernels give every thread a part of its own.
unsafe impl Send for OutputPointer {}
unsafe impl Sync for OutputPointer {}

impl OutputPointer {
    pub fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }

    /// Returns the place at an offset in this memory.
    pub fn moved(self, offset: usize) -> Self {
        Self(self.at(offset))
    }

    /// Lends a part of the memory as numbers.
    pub unsafe fn part<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        unsafe { std::slice::from_raw_parts_mut(self.at(offset), len) }
    }
}

impl From<Vec<f32>> for Fresh {
    /// Takes numbers that are written already.
    fn from(numbers: Vec<f32>) -> Self {
        Self { len: numbers.len(), numbers }
    }
}

fn in_pieces(numbers: &mut [f32], unit: usize, cost: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if numbers.is_empty() {
        return;
    }
    if numbers.len() / unit * cost < WORTH_THREADS {
        return work(0, numbers);
    }
    // Where the pieces begin depends on the sizes only.
    let units = PIECE.div_ceil(cost.max(1));
    parallel::fill(numbers, units * unit, &|first, numbers| work(first / unit, numbers));
}

/// Requests huge pages (2 MiB) for large memory: with 4 KiB pages, the first write of 400 MB of logits takes half as long
/// as their computation. Without them it is only slower.
fn use_huge_pages(numbers: &mut Vec<f32>) {
    #[cfg(target_os = "linux")]
    {
        const HUGE: usize = 2 << 20;
        let begin = numbers.as_mut_ptr().addr().next_multiple_of(HUGE);
        let end = (numbers.as_mut_ptr().addr() + 4 * numbers.capacity()) / HUGE * HUGE;
        if end > begin {
            let place = numbers.as_mut_ptr().with_addr(begin);
            // SAFETY: whole pages within memory that is ours; advice changes no content.
            unsafe { libc::madvise(place.cast(), end - begin, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = numbers;
}
