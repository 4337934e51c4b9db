//! The memory of a page: 32-bit addresses, which end at 4 GiB, and an allocator that counts what is held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that a page has at most.
const SPACE: u64 = 4 << 30;

/// Bytes beside those that were asked for: the stack, the program's own data, and what lies between blocks.
const BESIDE: u64 = 64 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes that are held.
pub fn taken() -> u64 {
    HELD.load(Relaxed) as u64
}

/// Returns the bytes that a page may still take.
pub fn free() -> u64 {
    SPACE.saturating_sub(BESIDE + taken())
}

/// The allocator of a page, `#[global_allocator]`: that of the system, whose bytes are counted. The memory of a page only
/// grows, so its size says nothing of what was given back.
pub struct CountingAllocator;

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        counted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) };
        HELD.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let moved = counted(unsafe { System.realloc(place, layout, size) }, size);
        if !moved.is_null() {
            HELD.fetch_sub(layout.size(), Relaxed);
        }
        moved
    }
}

/// Counts the bytes of a block, if there is one.
fn counted(place: *mut u8, bytes: usize) -> *mut u8 {
    if !place.is_null() {
        HELD.fetch_add(bytes, Relaxed);
    }
    place
}
