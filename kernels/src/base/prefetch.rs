//! Asking for memory ahead of its use.

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;
/// Lines of a row that are prefetched: the CPU detects by itself how a row continues, but not where the next one begins.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4;

/// Prefetches the beginning of a row of a matrix.
#[inline(always)]
pub fn ask_for<T>(matrix: &[T], width: usize, row: u32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let begin = matrix.as_ptr().wrapping_add(row as usize * width).cast::<i8>();
        for line in 0..AHEAD.min((width * size_of::<T>()).div_ceil(LINE)) {
            // SAFETY: a prefetch accesses nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(begin.wrapping_add(line * LINE)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (matrix, width, row);
}
