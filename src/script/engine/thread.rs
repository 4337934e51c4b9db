//! A thread with a large stack, on which scripts run: a deep recursion must end in an error, not in a killed process.

use std::thread::JoinHandle;

use crate::base::{Result, memory};
use crate::err;

/// Bytes of stack that a deep recursion of functions needs, and that no machine refuses.
const LEAST: u64 = 1 << 30;

/// Returns the size of the stack. Values that hold each other in a chain are dropped one within the other, which takes
/// about as much of the stack as they took of the memory. So the stack is as large as the half of what there is, and a
/// chain that would overflow it does not fit into the memory. Reserved, not used: the system gives pages of a stack
/// only when they are touched.
fn stack() -> u64 {
    (memory::available() / 2).clamp(LEAST, 64 * LEAST)
}

/// Runs `work` on a thread with such a stack and waits for it.
pub fn with_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    start("script", work)?.join().map_err(|panic| std::panic::resume_unwind(panic))
}

/// Starts `work` on a thread with such a stack, for a session beside others.
pub fn start<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(affordable(stack()) as usize)
        .spawn(work)
        .map_err(|e| err!(Memory, "cannot start the script's thread: {e}"))
}

/// Returns the size of stack that the system gives: this one, or the least where address space is limited.
fn affordable(size: u64) -> u64 {
    let probe = std::thread::Builder::new().stack_size(size as usize).spawn(|| {});
    match probe.map(JoinHandle::join) {
        Ok(_) => size,
        Err(_) => LEAST,
    }
}
