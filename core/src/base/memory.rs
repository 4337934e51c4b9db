//! Free memory, checked before large allocations, so that a huge tensor is an error message and not a killed process.
//! The kernels check it, too, so the code is theirs.

#[cfg(target_family = "wasm")]
pub use kernels::memory::CountingAllocator;
#[cfg(target_os = "linux")]
pub use kernels::memory::KeepingAllocator;
pub use kernels::memory::{SMALL, available, human, keep_freed, look, processor, taken};

pub use super::disk::give_back;

use super::Result;

/// Refuses an allocation of `bytes` that cannot fit; `what` names it in the error. Requests under 16 MiB are not
/// checked.
pub fn check(bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    Ok(kernels::memory::check(bytes, what)?)
}

/// Refuses an allocation of `bytes` that cannot fit on a device, where its free memory is known.
pub fn check_on(device: &candle_core::Device, bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    Ok(kernels::device::check(device, bytes, what)?)
}

/// Refuses an allocation of more than `free` bytes, measured before the first of several allocations, each of which may
/// be small.
pub fn check_within(bytes: u128, free: u64, what: impl FnOnce() -> String) -> Result<()> {
    Ok(kernels::memory::check_within(bytes, free, what)?)
}
