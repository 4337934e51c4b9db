//! The allocator of the program: the system's own, which asks for large pages where a block is large.

use std::alloc::{GlobalAlloc, Layout, System};

/// Smaller blocks hardly have a whole large page in them.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;
#[cfg(target_os = "linux")]
const PAGE: usize = 4096;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_PAGE: usize = 2 << 20;

/// Rows that are gathered from a matrix of megabytes lie on pages of 4 KiB, of which the processor remembers too few: a step
/// of a dictionary takes 4 % (4,096 features) to 7 % (16,384) less time on pages of 2 MiB, which systems give to programs
/// that ask for them.
pub struct LargePages;

// SAFETY: every block is the system allocator's; advice about its pages changes nothing that stands in them.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller has promised; a block that begins at a rounder address is as good.
        advised(unsafe { System.alloc(aligned(layout)) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller has promised.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller has promised.
        advised(unsafe { System.realloc(block, layout, size) }, size)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The layout of a large block, which begins with a large page. The system's allocator frees and grows blocks whatever they
/// were aligned to.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(LARGE_PAGE).unwrap_or(layout) }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn aligned(layout: Layout) -> Layout {
    layout
}

#[cfg(target_os = "linux")]
fn advised(block: *mut u8, size: usize) -> *mut u8 {
    if size >= LARGE && !block.is_null() {
        let skipped = block.align_offset(PAGE);
        // SAFETY: whole pages inside of a block that is ours. A system without large pages refuses, and the block is as good.
        unsafe { libc::madvise(block.add(skipped).cast(), (size - skipped) & !(PAGE - 1), libc::MADV_HUGEPAGE) };
    }
    block
}

#[cfg(not(target_os = "linux"))]
fn advised(block: *mut u8, _size: usize) -> *mut u8 {
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_sizes_are_whole() {
        for size in [1, 4096, (4 << 20) - 1, 4 << 20, (9 << 20) + 7] {
            let (layout, larger) = (Layout::from_size_align(size, 64).unwrap(), size + (5 << 20));
            // SAFETY: the blocks are freed with the layouts that they have, and only their own bytes are touched.
            unsafe {
                let block = LargePages.alloc_zeroed(layout);
                let bytes = std::slice::from_raw_parts_mut(block, size);
                assert!(bytes.iter().all(|byte| *byte == 0), "{size}");
                (bytes[0], bytes[size - 1]) = (3, 7);
                let block = LargePages.realloc(block, layout, larger);
                let bytes = std::slice::from_raw_parts(block, larger);
                assert_eq!((bytes[0].max(bytes[size - 1]), bytes[size - 1]), (7, 7), "{size}");
                LargePages.dealloc(block, Layout::from_size_align(larger, 64).unwrap());
            }
        }
    }
}
