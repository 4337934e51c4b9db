//! Code that all launches share, and the step of Adam of `cuda/adam.cu`.

use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, ValidAsZeroBits};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Storage, Tensor, Var};

use crate::arguments::adam::{AdamW, Factors, SHORTEST};
use crate::base::error::{Result, bail, err};

pub mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// Threads of a block that has one row; a whole number of warps.
pub const THREADS: u32 = 256;
/// Warps of such a block.
pub const WARPS: usize = THREADS as usize / 32;
/// The address that stands for a missing tensor.
pub const NOTHING: u64 = 0;

/// Returns whether all tensors are f32 on a device of NVIDIA.
pub fn has(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.dtype() == DType::F32 && matches!(t.device(), Device::Cuda(_)))
}

pub fn free(device: &CudaDevice) -> Result<u64> {
    let found = device.cuda_stream().context().mem_get_info();
    let (free, _all) = found.map_err(|e| err!(Argument, "the memory of the device is not known: {e}"))?;
    Ok(free as u64 + super::pool::unused(device)?)
}

/// Returns the address of a tensor's numbers on its device. All work of a device is done in one order
/// (`tensor::device`), so that nothing has to wait for what was launched before.
pub fn at<T: CudaDType + DeviceRepr>(t: &Tensor) -> Result<u64> {
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

pub fn device(t: &Tensor) -> Result<CudaDevice> {
    Ok(t.device().as_cuda_device()?.clone())
}

/// Allocates memory for a result of which a kernel writes every number.
pub fn written<T: CudaDType + DeviceRepr>(device: &CudaDevice, shape: &[usize]) -> Result<Tensor> {
    // SAFETY: the kernel runs before anything reads the result, since all work of a device is done in one order.
    let slice = unsafe { device.alloc::<T>(shape.iter().product())? };
    let held = CudaStorage::wrap_cuda_slice(slice, device.clone());
    Ok(Tensor::from_storage(Storage::Cuda(held), shape, BackpropOp::none(), false))
}

/// Allocates zeroed memory for a result of which a kernel writes only some numbers.
pub fn room<T: CudaDType + DeviceRepr + ValidAsZeroBits>(device: &CudaDevice, shape: &[usize]) -> Result<Tensor> {
    let held = CudaStorage::wrap_cuda_slice(device.alloc_zeros::<T>(shape.iter().product())?, device.clone());
    Ok(Tensor::from_storage(Storage::Cuda(held), shape, BackpropOp::none(), false))
}

pub fn size(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| err!(Memory, "expected less than 2^32 for a kernel, found {count}"))
}

pub fn by_blocks(blocks: usize, threads: u32) -> Result<LaunchConfig> {
    Ok(LaunchConfig { grid_dim: (size(blocks)?, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 })
}

/// Launches a kernel of a source with these arguments.
macro_rules! launch {
    ($device:expr, $source:ident :: $name:expr, $config:expr, $($argument:expr),+ $(,)?) => {{
        let function = $device.get_or_load_custom_func($name, concat!("microtome_", stringify!($source)), ptx::$source)?;
        let mut call = function.builder();
        candle_core::builder_arg!(call, $($argument),+);
        // SAFETY: the arguments are those that the kernel declares, and the shapes were checked by its caller.
        unsafe { call.launch($config) }
            .map_err(|e| $crate::base::error::err!(Argument, "{} on the device: {e}", $name))?;
    }};
}
pub(super) use launch;

/// Returns the component of each row of a gradient that is orthogonal to a row of directions.
pub fn across(gradient: &Tensor, directions: &Tensor) -> Result<Tensor> {
    let (rows, width) = gradient.dims2()?;
    let gradient = gradient.contiguous()?;
    let directions = directions.contiguous()?;
    let device = device(&gradient)?;
    let found = written::<f32>(&device, &[rows, width])?;
    let given = at::<f32>(&gradient)?;
    let along = at::<f32>(&directions)?;
    let to = at::<f32>(&found)?;
    launch!(device, ADAM::"reject_rows", by_blocks(rows, THREADS)?, given, along, to, size(width)?);
    Ok(found)
}

pub fn adam(weight: &Var, gradient: &Tensor, moments: [&Var; 2], settings: AdamW, unit: bool) -> Result<()> {
    let count = weight.elem_count();
    // Where rows are not scaled, any number of weights makes one.
    let width = if unit { weight.dims().last().copied().unwrap_or(1) } else { 4 * THREADS as usize };
    let gradient = gradient.contiguous()?;
    let device = device(weight)?;
    let [weights, means, squares] = [weight, moments[0], moments[1]].map(|variable| at::<f32>(variable));
    let weights = weights?;
    let means = means?;
    let squares = squares?;
    let gradients = at::<f32>(&gradient)?;
    let Factors { shrink, betas: [b1, b2], rests: [r1, r2], correction, eps, rate, keep } = Factors::of(settings);
    let config = by_blocks(count.div_ceil(width), THREADS)?;
    // Weights and moments change where they are; no other tensor has these numbers, as with the loops of the CPU.
    launch!(
        device, ADAM::"adam_rows", config, weights, means, squares, gradients, count, size(width)?, shrink, b1, r1, b2, r2,
        correction, eps, rate, keep, u32::from(unit), SHORTEST,
    );
    Ok(())
}
