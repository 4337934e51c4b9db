//! An allocator for programs that maps large blocks itself and keeps freed ones for the next requests of the same size.
//!
//! The system's allocator gives large blocks back to the system, which maps and zeroes the pages of the next one again. Logits and
//! hidden activations of some thousand tokens are that large, in every layer of every pass.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// Size from which glibc's allocator keeps no blocks, whatever its settings.
pub(super) const LARGE: usize = 32 << 20;
/// The size of large blocks is a multiple of this, as the largest pages are.
const UNIT: usize = 2 << 20;
/// The alignment that every mapping has.
const ALIGNMENT: usize = 4096;
/// Blocks that are kept at most: those that a backward pass through some tens of layers frees.
const COUNT: usize = 256;

/// Bytes that are kept at most.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

static KEPT: Mutex<KeptBlocks> = Mutex::new(KeptBlocks::NONE);

/// Lets a program whose allocator is [`KeepingAllocator`] keep this many bytes. Before, nothing is kept.
pub(super) fn keep(bytes: usize) {
    LIMIT.store(bytes, Relaxed);
}

/// Returns the bytes that are kept.
pub(super) fn kept() -> usize {
    locked().bytes
}

/// Gives all kept blocks back to the system.
pub(super) fn release() {
    locked().release(usize::MAX);
}

/// The system's allocator for small blocks, and mappings for large ones: `#[global_allocator]` of a program. A request that no
/// kept block fits gives as many bytes of the oldest ones back as it takes, so that a program holds no more than at its peak.
pub struct KeepingAllocator;

// SAFETY: small blocks are the system's. Whether a block is large follows from its layout, so that it goes back to where it came
// from. A mapping is as large as its layout asks and aligned to a page; a kept one was freed, and is handed out once.
unsafe impl GlobalAlloc for KeepingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            reused(layout).unwrap_or_else(|| mapped(layout))
        } else {
            unsafe { System.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            return unsafe { System.alloc_zeroed(layout) };
        }
        match reused(layout) {
            Some(place) => {
                unsafe { place.write_bytes(0, layout.size()) };
                place
            }
            None => mapped(layout),
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if is_large(layout) {
            let block = Block { address: place.expose_provenance(), bytes: bytes(layout) };
            locked().keep(block, LIMIT.load(Relaxed));
        } else {
            unsafe { System.dealloc(place, layout) };
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller has checked that the size fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(wanted)) {
            (false, false) => unsafe { System.realloc(place, layout, size) },
            (true, true) => unsafe { remapped(place, bytes(layout), bytes(wanted)) },
            _ => {
                let moved = unsafe { self.alloc(wanted) };
                if !moved.is_null() {
                    unsafe {
                        ptr::copy_nonoverlapping(place, moved, size.min(layout.size()));
                        self.dealloc(place, layout);
                    }
                }
                moved
            }
        }
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= ALIGNMENT
}

/// Returns the bytes of the mapping for a large block. A layout is at most half of all addresses, so that they are a number.
fn bytes(layout: Layout) -> usize {
    layout.size().next_multiple_of(UNIT)
}

/// Returns a kept block for a large request; if there is none, others give way to a new one.
fn reused(layout: Layout) -> Option<*mut u8> {
    let bytes = bytes(layout);
    let mut kept = locked();
    let found = kept.take(bytes);
    if found.is_none() {
        kept.release(bytes);
    }
    found
}

/// Maps a new block, which is zero; null if there is no memory.
fn mapped(layout: Layout) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    or_null(|| {
        // SAFETY: a new mapping of no file.
        unsafe { libc::mmap(ptr::null_mut(), bytes(layout), access, kind, -1, 0) }
    })
}

/// Changes the size of a mapping, which may move; null if there is no memory, and it is as it was.
///
/// # Safety
/// The place is a mapping of this many bytes, which nobody else uses.
unsafe fn remapped(place: *mut u8, bytes: usize, wanted: usize) -> *mut u8 {
    // SAFETY: as above.
    or_null(|| unsafe { libc::mremap(place.cast(), bytes, wanted, libc::MREMAP_MAYMOVE) })
}

/// Asks the system for a mapping, and once more without the kept blocks if it has none.
fn or_null(ask: impl Fn() -> *mut libc::c_void) -> *mut u8 {
    let mut found = ask();
    if found == libc::MAP_FAILED {
        release();
        found = ask();
    }
    if found == libc::MAP_FAILED { ptr::null_mut() } else { found.cast() }
}

fn locked() -> MutexGuard<'static, KeptBlocks> {
    KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A mapping that nobody uses.
#[derive(Clone, Copy)]
struct Block {
    address: usize,
    bytes: usize,
}

impl Block {
    fn unmap(self) {
        // SAFETY: a mapping of this size, which nobody uses.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(self.address), self.bytes) };
    }
}

/// Blocks, oldest first. Nothing here may allocate.
struct KeptBlocks {
    blocks: [Block; COUNT],
    count: usize,
    bytes: usize,
}

impl KeptBlocks {
    const NONE: Self = Self { blocks: [Block { address: 0, bytes: 0 }; COUNT], count: 0, bytes: 0 };

    /// Takes the block of this size that was freed last, whose pages are nearest.
    fn take(&mut self, bytes: usize) -> Option<*mut u8> {
        let at = self.blocks[..self.count].iter().rposition(|block| block.bytes == bytes)?;
        Some(ptr::with_exposed_provenance_mut(self.remove(at).address))
    }

    /// Keeps a freed block, for which the oldest ones make room, or unmaps it if it is larger than the limit.
    fn keep(&mut self, block: Block, limit: usize) {
        if block.bytes > limit {
            return block.unmap();
        }
        while self.count == COUNT || self.bytes + block.bytes > limit {
            self.remove(0).unmap();
        }
        self.blocks[self.count] = block;
        self.count += 1;
        self.bytes += block.bytes;
    }

    /// Unmaps the oldest blocks until they were this many bytes, or none is left.
    fn release(&mut self, bytes: usize) {
        let before = self.bytes;
        while self.count > 0 && before - self.bytes < bytes {
            self.remove(0).unmap();
        }
    }

    fn remove(&mut self, at: usize) -> Block {
        let block = self.blocks[at];
        self.blocks.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.bytes -= block.bytes;
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{list, numbers};

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    fn block(units: usize) -> Block {
        Block { address: mapped(layout(units * UNIT)).expose_provenance(), bytes: units * UNIT }
    }

    fn sizes(kept: &KeptBlocks) -> Vec<usize> {
        kept.blocks[..kept.count].iter().map(|block| block.bytes / UNIT).collect()
    }

    #[test]
    fn a_block_is_handed_out_once_for_its_own_size() {
        let mut kept = KeptBlocks::NONE;
        let [small, large] = [1, 2].map(block);
        kept.keep(large, 10 * UNIT);
        kept.keep(small, 10 * UNIT);
        assert_eq!((kept.bytes, kept.take(3 * UNIT)), (3 * UNIT, None));
        assert_eq!(kept.take(2 * UNIT).map(|place| place.addr()), Some(large.address));
        assert_eq!(kept.take(2 * UNIT), None);
        kept.keep(large, 10 * UNIT);
        kept.release(usize::MAX);
        assert_eq!((kept.count, kept.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_blocks_make_room() {
        let mut kept = KeptBlocks::NONE;
        for units in 1..=4 {
            kept.keep(block(units), 8 * UNIT);
        }
        assert_eq!(sizes(&kept), [3, 4]);
        kept.keep(block(9), 8 * UNIT);
        assert_eq!(sizes(&kept), [3, 4]);
        kept.release(2 * UNIT);
        assert_eq!(sizes(&kept), [4]);
        for _ in 0..2 * COUNT {
            kept.keep(block(1), COUNT * UNIT);
        }
        assert_eq!((kept.count, kept.bytes), (COUNT, COUNT * UNIT));
        kept.release(usize::MAX);
    }

    #[test]
    fn contents_stay_while_blocks_come_and_go() {
        const PAGE: usize = 1 << 12;
        const SIZES: [usize; 6] = [1 << 16, LARGE - 1, LARGE, LARGE + 1, LARGE + 2 * UNIT, 2 * LARGE];
        keep(5 * LARGE);
        let draws = list(&numbers(&[600], 1.0, 1));
        let mut held: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut most = 0;
        let fill = |place: *mut u8, size: usize, byte: u8| {
            let numbers = unsafe { std::slice::from_raw_parts_mut(place, size) };
            numbers.iter_mut().step_by(PAGE).for_each(|place| *place = byte);
        };
        let is_filled = |place: *mut u8, size: usize, byte: u8| {
            let numbers = unsafe { std::slice::from_raw_parts(place, size) };
            numbers.iter().step_by(PAGE).all(|found| *found == byte)
        };
        for (step, draw) in draws.chunks(3).enumerate() {
            most = most.max(kept());
            let at = |draw: f32, count: usize| (((draw + 1.0) / 2.0 * count as f32) as usize).min(count - 1);
            let size = SIZES[at(draw[0], SIZES.len())];
            let byte = step as u8;
            let choice = at(draw[1], 3);
            if held.is_empty() || choice == 0 && held.len() < 6 {
                let is_zero = draw[2] > 0.0;
                let allocator = KeepingAllocator;
                let place = unsafe {
                    if is_zero { allocator.alloc_zeroed(layout(size)) } else { allocator.alloc(layout(size)) }
                };
                assert!(!place.is_null() && place.addr().is_multiple_of(64));
                assert!(!is_zero || is_filled(place, size, 0));
                fill(place, size, byte);
                held.push((place, size, byte));
                continue;
            }
            let (place, old, written) = held.swap_remove(at(draw[2], held.len()));
            assert!(is_filled(place, old, written), "step {step}");
            if choice == 1 {
                let moved = unsafe { KeepingAllocator.realloc(place, layout(old), size) };
                assert!(!moved.is_null() && is_filled(moved, size.min(old), written), "step {step}");
                fill(moved, size, byte);
                held.push((moved, size, byte));
            } else {
                unsafe { KeepingAllocator.dealloc(place, layout(old)) };
            }
        }
        assert!(most > LARGE && most <= 5 * LARGE, "{most} bytes were kept at once");
        held.drain(..).for_each(|(place, size, _)| unsafe { KeepingAllocator.dealloc(place, layout(size)) });
        release();
        assert_eq!(kept(), 0);
    }
}
