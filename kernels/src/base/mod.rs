//! The base of all kernels: clocks, errors, free memory, work on all threads, the instructions of the CPU.

pub mod clock;
pub mod error;
pub(crate) mod instructions;
#[cfg(target_os = "linux")]
mod large_blocks;
pub mod memory;
#[cfg(target_family = "wasm")]
mod page_memory;
pub mod parallel;
pub(crate) mod prefetch;
pub mod simulated_threads;
pub(crate) mod thread_pool;
