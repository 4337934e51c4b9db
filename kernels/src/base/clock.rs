//! The clocks: those of the standard library, and in a page, where it has none, those of the page.

#[cfg(not(target_family = "wasm"))]
pub use std::thread::sleep;

pub use web_time::{Instant, SystemTime, UNIX_EPOCH};

/// Waits. A page cannot put this thread to sleep, so it looks at the clock meanwhile.
#[cfg(target_family = "wasm")]
pub fn sleep(length: std::time::Duration) {
    let begun = Instant::now();
    while begun.elapsed() < length {
        std::hint::spin_loop();
    }
}
