//! Free memory, checked before large allocations, so that a huge tensor is an error message and not a killed process.

use std::sync::Mutex;
use std::time::Duration;

use super::clock::Instant;
use super::error::{Error, Kind, Result};
#[cfg(target_os = "linux")]
use super::large_blocks;
#[cfg(target_os = "linux")]
pub use super::large_blocks::KeepingAllocator;
#[cfg(target_family = "wasm")]
use super::page_memory::free;
#[cfg(target_family = "wasm")]
pub use super::page_memory::{CountingAllocator, taken};

/// Returns the bytes that this process may still allocate: the free memory of the machine, or the limit of the control
/// group or of the process (`ulimit -v`) if that is lower.
///
/// The system is queried at most fifty times a second, since that costs some tens of microseconds.
pub fn available() -> u64 {
    let last = *last();
    match last {
        Some((when, bytes)) if when.elapsed() < Duration::from_millis(20) => bytes,
        _ => look(),
    }
}

/// Queries the free memory now, without the cache of [`available`].
pub fn look() -> u64 {
    let free = free();
    *last() = Some((Instant::now(), free));
    free
}

#[cfg(not(target_family = "wasm"))]
fn free() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    let free = system.cgroup_limits().map_or(free, |group| free.min(of_group(&group)));
    let free =
        limit().map_or(free, |limit| free.min(limit.saturating_sub(of_process(|process| process.virtual_memory()))));
    free + kept()
}

/// Returns the bytes of freed blocks that the allocator keeps, which are free as well.
#[cfg(not(target_family = "wasm"))]
fn kept() -> u64 {
    #[cfg(target_os = "linux")]
    return large_blocks::kept() as u64;
    #[cfg(not(target_os = "linux"))]
    0
}

/// Returns the bytes that a control group may still take: its limit less the pages that it cannot give back. What the group
/// is said to use has the pages of files that were read, too, and these give way.
#[cfg(not(target_family = "wasm"))]
fn of_group(group: &sysinfo::CGroupLimits) -> u64 {
    group.total_memory.saturating_sub(group.rss).max(1)
}

fn last() -> std::sync::MutexGuard<'static, Option<(Instant, u64)>> {
    static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    LAST.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Returns the bytes of resident memory of this process.
#[cfg(not(target_family = "wasm"))]
pub fn taken() -> u64 {
    of_process(|process| process.memory())
}

#[cfg(not(target_family = "wasm"))]
fn of_process(ask: impl Fn(&sysinfo::Process) -> u64) -> u64 {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate};
    let mut system = sysinfo::System::new();
    let own = Pid::from_u32(std::process::id());
    let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, what);
    system.process(own).map_or(0, ask)
}

/// Returns the limit of the address space of this process, if there is one.
#[cfg(not(target_family = "wasm"))]
fn limit() -> Option<u64> {
    #[cfg(unix)]
    {
        let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the system fills in a structure of ours.
        let answered = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0;
        (answered && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
    }
    #[cfg(not(unix))]
    None
}

/// Lets the allocator keep freed memory for reuse, if it is a [`KeepingAllocator`]: large blocks up to an eighth of what is free
/// now, and others up to as much, though at least 1 GiB and at most 2 GiB; to be called once before threads start.
///
/// Every pass through a model allocates and frees some hundreds of megabytes of activations, and gradients of some thousand
/// tokens gigabytes. Returned to the system, each page would have to be mapped and zeroed again in the next pass: measured,
/// a sixth of the time of a pass, and a third of one that records.
pub fn keep_freed() {
    let most = look() / 8;
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: settings of the allocator, which ignores unknown ones.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, large_blocks::LARGE as i32);
        libc::mallopt(libc::M_TRIM_THRESHOLD, most.clamp(1 << 30, i32::MAX as u64) as i32);
        // A single arena, so that memory freed by one thread can be reused by another.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    #[cfg(target_os = "linux")]
    large_blocks::keep(most as usize);
}

/// Returns the name of the CPU, as it calls itself.
pub fn processor() -> String {
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default()
}

/// Bytes from which on requests are checked.
pub const SMALL: u128 = 16 << 20;

/// Refuses an allocation of `bytes` that cannot fit; `what` names it in the error. Requests under [`SMALL`] are not
/// checked.
pub fn check(bytes: u128, what: impl FnOnce() -> String) -> Result<()> {
    if bytes < SMALL {
        return Ok(());
    }
    let free = available();
    check_within(bytes, free, what)?;
    #[cfg(target_os = "linux")]
    if bytes + u128::from(kept()) > u128::from(free) {
        large_blocks::release();
    }
    Ok(())
}

/// Refuses an allocation of more than `free` bytes, measured before the first of several allocations, each of which may
/// be small.
pub fn check_within(bytes: u128, free: u64, what: impl FnOnce() -> String) -> Result<()> {
    if bytes <= u128::from(free) { Ok(()) } else { Err(too_large(bytes, free, &what())) }
}

/// Says what does not fit. It is not generic, so that it is compiled once.
fn too_large(bytes: u128, free: u64, what: &str) -> Error {
    Error {
        kind: Kind::Memory,
        message: format!("{what} needs {}, and {} are free", human(bytes), human(u128::from(free))),
        hint: Some("work in smaller pieces, or with a smaller dtype"),
    }
}

/// Writes bytes in readable units: `1.5 GiB`.
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

    #[test]
    fn pages_of_files_are_not_taken_from_a_group() {
        let group = |rss| sysinfo::CGroupLimits { total_memory: 100, free_memory: 5, free_swap: 0, rss };
        assert_eq!(of_group(&group(30)), 70);
        assert_eq!(of_group(&group(120)), 1);
    }
}
