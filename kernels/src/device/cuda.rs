//! The launches of `kernels/cuda`, each with the shapes that its kernel counts on.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, ValidAsZeroBits};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Storage, Tensor, Var};

use super::super::adam::{AdamW, Factors, SHORTEST};
use super::super::record::with_gradient;
use crate::Result;
use crate::error::{bail, err};

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// Threads of a block that has one row; a whole number of warps.
const THREADS: u32 = 256;

/// Whether all of these are f32 on a device of NVIDIA.
pub fn has(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.dtype() == DType::F32 && matches!(t.device(), Device::Cuda(_)))
}

pub fn free(device: &CudaDevice) -> Result<u64> {
    let found = device.cuda_stream().context().mem_get_info();
    let (free, _all) = found.map_err(|e| err!(Argument, "the memory of the device is not known: {e}"))?;
    Ok(free as u64)
}

/// Where the numbers of a tensor are on its device. All work of a device is done in one order (`tensor::device`), so that
/// nothing has to wait for what was launched before.
fn at<T: CudaDType + DeviceRepr>(t: &Tensor) -> Result<u64> {
    let (storage, layout) = t.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(Bug, "expected numbers without gaps for a kernel, found strides {:?}", t.stride());
    };
    let Storage::Cuda(held) = &*storage else { bail!(Bug, "expected numbers on a device of NVIDIA, found others") };
    let stream = held.device.cuda_stream();
    let view = held.as_cuda_slice::<T>()?.slice(start..end);
    let (pointer, _waits) = view.device_ptr(&stream);
    Ok(pointer)
}

fn device(t: &Tensor) -> Result<CudaDevice> {
    Ok(t.device().as_cuda_device()?.clone())
}

/// Memory for a result: filled by the kernel, or with 0 where that writes only some of it.
fn room<T: CudaDType + DeviceRepr + ValidAsZeroBits>(device: &CudaDevice, shape: &[usize]) -> Result<Tensor> {
    let held = CudaStorage::wrap_cuda_slice(device.alloc_zeros::<T>(shape.iter().product())?, device.clone());
    Ok(Tensor::from_storage(Storage::Cuda(held), shape, BackpropOp::none(), false))
}

fn size(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| err!(Memory, "expected less than 2^32 for a kernel, found {count}"))
}

fn by_blocks(blocks: usize, threads: u32) -> Result<LaunchConfig> {
    Ok(LaunchConfig { grid_dim: (size(blocks)?, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 })
}

/// Launches a kernel of a source with these arguments.
macro_rules! launch {
    ($device:expr, $source:ident :: $name:literal, $config:expr, $($argument:expr),+ $(,)?) => {{
        let function = $device.get_or_load_custom_func($name, concat!("microtome_", stringify!($source)), ptx::$source)?;
        let mut call = function.builder();
        candle_core::builder_arg!(call, $($argument),+);
        // SAFETY: the arguments are those that the kernel declares, and the shapes were checked by its caller.
        unsafe { call.launch($config) }.map_err(|e| err!(Argument, "{} on the device: {e}", $name))?;
    }};
}

pub fn mask_of_largest(numbers: &Tensor, k: usize) -> Result<Tensor> {
    let numbers = numbers.contiguous()?;
    let (device, width) = (device(&numbers)?, numbers.dims().last().copied().unwrap_or(1));
    let mask = room::<f32>(&device, numbers.dims())?;
    let config = by_blocks(numbers.elem_count() / width, THREADS)?;
    let (given, marks) = (at::<f32>(&numbers)?, at::<f32>(&mask)?);
    launch!(device, ROWS::"mask_of_largest", config, given, marks, size(width)?, size(k.min(width))?);
    Ok(mask)
}

/// Rows with few numbers that are not 0, as their places and values.
struct Sparse {
    /// The same with their zeros: `[rows, columns]`.
    dense: Tensor,
    /// `[rows, most]`
    places: Tensor,
    values: Tensor,
}

impl Sparse {
    fn of(rows: &Tensor, most: usize) -> Result<Self> {
        let dense = rows.detach().contiguous()?;
        let (count, columns) = dense.dims2()?;
        let device = device(&dense)?;
        let (places, values) = (room::<u32>(&device, &[count, most])?, room::<f32>(&device, &[count, most])?);
        let (given, to, times) = (at::<f32>(&dense)?, at::<u32>(&places)?, at::<f32>(&values)?);
        launch!(
            device, ROWS::"compact_rows", by_blocks(count, THREADS)?, given, to, times, size(columns)?, size(most)?
        );
        Ok(Self { dense, places, values })
    }

    /// Their product with a table.
    fn times(&self, table: &Tensor) -> Result<Tensor> {
        let ((count, most), (_, width)) = (self.places.dims2()?, table.dims2()?);
        let device = device(table)?;
        let product = room::<f32>(&device, &[count, width])?;
        let (places, values) = (at::<u32>(&self.places)?, at::<f32>(&self.values)?);
        let (rows, to) = (at::<f32>(table)?, at::<f32>(&product)?);
        launch!(
            device, ROWS::"weighted_sums", by_blocks(count, THREADS)?, places, values, rows, to, size(most)?, size(width)?
        );
        Ok(product)
    }

    /// The gradient of their numbers, 0 where they are.
    fn gradient(&self, gradient: &Tensor, table: &Tensor) -> Result<Tensor> {
        let ((count, most), (columns, width)) = (self.places.dims2()?, table.dims2()?);
        let device = device(table)?;
        let found = room::<f32>(&device, &[count, columns])?;
        let (places, rows) = (at::<u32>(&self.places)?, at::<f32>(gradient)?);
        let (others, to) = (at::<f32>(table)?, at::<f32>(&found)?);
        let config = by_blocks(count, THREADS)?;
        launch!(
            device, ROWS::"dots_at", config, places, rows, others, to, size(most)?, size(width)?, size(columns)?
        );
        Ok(found)
    }

    /// The gradient of the table.
    fn gradient_of_table(&self, gradient: &Tensor) -> Result<Tensor> {
        let ((count, columns), (_, most), (_, width)) = (self.dense.dims2()?, self.places.dims2()?, gradient.dims2()?);
        let device = device(gradient)?;
        let (counts, starts) = (room::<u32>(&device, &[columns])?, room::<u32>(&device, &[columns + 1])?);
        let (list, found) = (room::<u32>(&device, &[count * most])?, room::<f32>(&device, &[columns, width])?);
        let (dense, rows, to) = (at::<f32>(&self.dense)?, at::<f32>(gradient)?, at::<f32>(&found)?);
        let (counted, begins, listed) = (at::<u32>(&counts)?, at::<u32>(&starts)?, at::<u32>(&list)?);
        let (tall, all, wide, limit) = (size(count)?, size(columns)?, size(width)?, size(count * most)?);
        let side_by_side = by_blocks(columns.div_ceil(THREADS as usize), THREADS)?;
        launch!(device, ROWS::"count_columns", side_by_side, dense, counted, tall, all);
        launch!(device, ROWS::"starts_of_columns", by_blocks(1, 1024)?, counted, begins, all);
        launch!(device, ROWS::"rows_of_columns", side_by_side, dense, begins, listed, tall, all, limit);
        let config = by_blocks(columns, THREADS)?;
        launch!(device, ROWS::"sums_of_columns", config, dense, begins, listed, rows, to, all, wide, limit);
        Ok(found)
    }
}

pub fn sparse_product(rows: &Tensor, table: &Tensor, most: usize) -> Result<Tensor> {
    let (sparse, held) = (Arc::new(Sparse::of(rows, most)?), table.detach().contiguous()?);
    let product = sparse.times(&held)?;
    let asked = [rows.track_op(), table.track_op()];
    if asked == [false, false] {
        return Ok(product);
    }
    with_gradient("sparse_product", &product, &[rows, table], move |_, gradient| {
        let gradient = gradient.contiguous()?;
        let of_rows = asked[0].then(|| sparse.gradient(&gradient, &held)).transpose()?;
        let of_table = asked[1].then(|| sparse.gradient_of_table(&gradient)).transpose()?;
        Ok(vec![of_rows, of_table])
    })
}

pub fn adam(weight: &Var, gradient: &Tensor, moments: [&Var; 2], settings: AdamW, unit: bool) -> Result<()> {
    let count = weight.elem_count();
    // Where rows are not scaled, any number of weights makes one.
    let width = if unit { weight.dims().last().copied().unwrap_or(1) } else { 4 * THREADS as usize };
    let (gradient, device) = (gradient.contiguous()?, device(weight)?);
    let [weights, means, squares] = [weight, moments[0], moments[1]].map(|variable| at::<f32>(variable));
    let (weights, means, squares, gradients) = (weights?, means?, squares?, at::<f32>(&gradient)?);
    let Factors { shrink, betas: [b1, b2], rests: [r1, r2], correction, eps, rate, keep } = Factors::of(settings);
    let config = by_blocks(count.div_ceil(width), THREADS)?;
    // Weights and moments change where they are; no other tensor has these numbers, as with the loops of the processor.
    launch!(
        device, ADAM::"adam_rows", config, weights, means, squares, gradients, count, size(width)?, shrink, b1, r1, b2, r2,
        correction, eps, rate, keep, u32::from(unit), SHORTEST,
    );
    Ok(())
}
