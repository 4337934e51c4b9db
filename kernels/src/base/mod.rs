//! The base of all kernels: errors, free memory, work on all threads, the instructions of the CPU.

pub mod error;
pub(crate) mod instructions;
pub mod memory;
pub mod parallel;
pub(crate) mod thread_pool;
