//! The machine's memory, asked before anything is allocated, so that a huge tensor is an error message and not a killed
//! process. The kernels ask too, so what asks is theirs.

pub use kernels::memory::{available, give_back, human, keep_freed, look, processor, taken};

use super::Result;

/// Refuses `bytes` that cannot fit, naming `what` wanted them. Requests under 16 MiB are not worth asking about.
pub fn check(bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    Ok(kernels::memory::check(bytes, what)?)
}

/// The same against what was free before some of it was taken: for parts of which each alone is small.
pub fn check_within(bytes: u128, free: u64, what: impl FnOnce() -> String) -> Result<()> {
    Ok(kernels::memory::check_within(bytes, free, what)?)
}
