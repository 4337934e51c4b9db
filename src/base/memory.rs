//! The machine: asking whether there is room before anything is allocated, so that a huge tensor is an error message
//! and not a killed process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Result, error::Error, error::Kind};

/// Bytes that this process may still take: what the machine has free, or the control group's limit if that is lower.
///
/// Asked of the system at most fifty times a second, since it costs some tens of microseconds.
pub fn available() -> u64 {
    static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match *last {
        Some((when, bytes)) if when.elapsed() < Duration::from_millis(20) => bytes,
        _ => {
            let mut system = sysinfo::System::new();
            system.refresh_memory();
            let free = system.available_memory();
            let bytes = system.cgroup_limits().map_or(free, |group| free.min(group.free_memory.max(1)));
            *last = Some((Instant::now(), bytes));
            bytes
        }
    }
}

/// Scripts that fill the memory bit by bit are stopped while there is still room to say so.
const KEPT_FREE: u64 = 192 << 20;
/// Pieces smaller than this are given out without a question.
const LARGE: usize = 64 << 20;

/// A text grew so large that doubling it once more might not fit.
static STRETCHED: AtomicBool = AtomicBool::new(false);

/// Whether so little memory is left that the script must stop. Asked on every operation, answered on few.
pub fn runs_out(operations: u64) -> bool {
    STRETCHED.load(Ordering::Relaxed) && STRETCHED.swap(false, Ordering::Relaxed)
        || operations.is_multiple_of(64) && available() < KEPT_FREE
}

/// The allocator of the program: the system's, asked first whether a large piece fits.
///
/// Tensors ask before they are made ([`check`]), strings of the script language do not: `s += s` in a loop would end in
/// a process killed by the system, and perhaps not this one. So a text that could not be doubled three times more marks the
/// script to be stopped, and a piece that does not fit at all ends the program with a sentence.
pub struct Watched;

impl Watched {
    fn ask(layout: Layout, size: usize) {
        if size < LARGE {
            return;
        }
        let free = available();
        if size as u64 > free {
            let (wanted, free) = (human(size as u128), human(u128::from(free)));
            eprintln!("error: out of memory: {wanted} are wanted in one piece, and {free} are free");
            std::process::exit(1);
        }
        // Bytes that need no alignment are text.
        if layout.align() == 1 && size as u64 > free / 8 {
            STRETCHED.store(true, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::ask(layout, layout.size());
        // SAFETY: the caller keeps the contract of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::ask(layout, layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::ask(layout, size.saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The name of the processor, as it calls itself.
pub fn processor() -> String {
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default()
}

/// Refuses `bytes` that cannot fit, naming `what` wanted them. Requests under 16 MiB are not worth asking about.
pub fn check(bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    if bytes < (16 << 20) {
        return Ok(());
    }
    check_within(bytes, available(), what)
}

/// The same against what was free before some of it was taken: for parts of which each alone is small.
pub fn check_within(bytes: u128, free: u64, what: impl FnOnce() -> String) -> Result<()> {
    if bytes <= u128::from(free) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Memory,
        format!("{} needs {}, and {} are free", what(), human(bytes), human(u128::from(free))),
    )
    .hint("work in smaller pieces, or with a smaller dtype"))
}

/// Bytes as people read them: `1.5 GiB`.
pub fn human(bytes: u128) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_to_the_thirteen_floats_do_not_fit() {
        let error = check(4 * 10_u128.pow(13), || "a tensor".into()).unwrap_err();
        assert!(error.message.starts_with("a tensor needs 36.4 TiB"), "{}", error.message);
        assert!(check(1024, || "a tensor".into()).is_ok());
    }
}
