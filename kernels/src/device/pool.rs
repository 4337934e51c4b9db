//! The memory pool of a device of NVIDIA. By default the driver gives freed memory back to the system whenever a program waits
//! for the device; every step of a fit waits, and would then ask for the same gigabytes again.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUmemPool_attribute_enum as Attribute, CUmemoryPool, cuDeviceGetDefaultMemPool, cuMemPoolGetAttribute,
    cuMemPoolSetAttribute,
};

use crate::base::error::{Result, err};

/// Returns the pool that allocations come from; None where the driver has none.
fn pool(device: &CudaDevice) -> Result<Option<CUmemoryPool>> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    let mut pool = std::ptr::null_mut();
    // SAFETY: the context's device is one that was opened, and the pool is written where there is room for it.
    unsafe { cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()) }
        .result()
        .map_err(|e| err!(Argument, "the memory pool of the device is not known: {e}"))?;
    Ok(Some(pool))
}

fn get(device: &CudaDevice, attribute: Attribute) -> Result<Option<u64>> {
    let Some(pool) = pool(device)? else { return Ok(None) };
    let mut value = 0_u64;
    // SAFETY: each attribute that is asked for here is a number of 64 bits.
    unsafe { cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast()) }
        .result()
        .map_err(|e| err!(Argument, "the memory pool of the device does not answer: {e}"))?;
    Ok(Some(value))
}

fn set(device: &CudaDevice, attribute: Attribute, mut value: u64) -> Result<()> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    // SAFETY: each attribute that is set here is a number of 64 bits.
    unsafe { cuMemPoolSetAttribute(pool, attribute, (&raw mut value).cast()) }
        .result()
        .map_err(|e| err!(Argument, "the memory pool of the device cannot be set: {e}"))
}

/// Makes the pool keep freed memory.
pub fn keep(device: &CudaDevice) -> Result<()> {
    set(device, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)
}

/// Returns the bytes in the pool that no tensor has.
pub fn unused(device: &CudaDevice) -> Result<u64> {
    let held = get(device, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    let used = get(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    Ok(held.zip(used).map_or(0, |(held, used)| held.saturating_sub(used)))
}

/// Returns the most bytes that tensors had at once since the last [`forget_most`].
pub fn most(device: &CudaDevice) -> Result<Option<u64>> {
    get(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)
}

/// Starts the count of [`most`] anew.
pub fn forget_most(device: &CudaDevice) -> Result<()> {
    set(device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)
}
