//! Flags that are raised while a test waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Raises a flag after some milliseconds, on a thread of its own.
pub fn raise_after(flag: &Arc<AtomicBool>, milliseconds: u64) -> JoinHandle<()> {
    let flag = flag.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(milliseconds));
        flag.store(true, Ordering::Relaxed);
    })
}
