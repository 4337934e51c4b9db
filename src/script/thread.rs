//! Scripts run on a thread with a large stack: a deep recursion must end in an error, not in a killed process.

use crate::base::Result;
use crate::err;

/// Reserved, not used: the system gives pages of a stack only when they are touched.
const STACK: usize = 1 << 30;

/// Runs `work` on such a thread and waits for it.
pub fn with_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let thread = std::thread::Builder::new()
        .name("script".into())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|e| err!(Memory, "cannot start the script's thread: {e}"))?;
    thread.join().map_err(|panic| std::panic::resume_unwind(panic))
}
