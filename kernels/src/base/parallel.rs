//! Work in pieces on all threads. rayon is compiled anew for every closure, which was a third of this crate and a tenth of
//! the core; here it is compiled once, and what is generic is a loop's worth of code.

use rayon::prelude::*;

pub use super::thread_pool::threads;
use super::{simulated_threads, thread_pool};

/// A place in memory that threads write to, each at indices of its own.
struct Places<T>(*mut T);

// SAFETY: `map` and `blocks` hand out every index once, so no two threads use the same place; values move between threads,
// which `Send` allows.
unsafe impl<T: Send> Sync for Places<T> {}

impl<T> Places<T> {
    /// Returns the address of a place. Through a method a closure borrows the whole and not the pointer, which threads
    /// may not share.
    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }

    /// Returns the block that begins with a place, of all that there are.
    ///
    /// # Safety
    ///
    /// Nobody else uses the places of this block while it is borrowed.
    #[expect(clippy::mut_from_ref, reason = "each block is handed out once")]
    unsafe fn block(&self, first: usize, block: usize, all: usize) -> &mut [T] {
        // SAFETY: the block lies within the places, and is ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.at(first), block.min(all - first)) }
    }
}

/// Calls `one` once with each index below `count`.
#[track_caller]
fn each(count: usize, one: &(dyn Fn(usize) + Sync)) {
    if simulated_threads::threads().is_some() {
        return simulated_threads::section(count, thread_pool::stretch, &|numbers| numbers.for_each(one));
    }
    // As in `thread_pool::each`.
    if count <= 1 || threads() == 1 {
        return (0..count).for_each(one);
    }
    (0..count).into_par_iter().for_each(one);
}

/// Returns the results of `one` for each index below `count`, in order.
#[track_caller]
pub fn map<U: Send>(count: usize, one: &(dyn Fn(usize) -> U + Sync)) -> Vec<U> {
    let mut made: Vec<U> = Vec::with_capacity(count);
    let places = Places(made.as_mut_ptr());
    // SAFETY: the index is below the capacity, and nobody else writes there.
    each(count, &|index| unsafe { places.at(index).write(one(index)) });
    // SAFETY: every place is written; where `one` panics, the results are leaked and this is not reached.
    unsafe { made.set_len(count) };
    made
}

/// Returns the results of `one` for each block of this many places and the index of its first one, in order; the last
/// block may be shorter.
#[track_caller]
pub fn blocks<T: Send, U: Send>(places: &mut [T], block: usize, one: &(dyn Fn(usize, &mut [T]) -> U + Sync)) -> Vec<U> {
    let all = places.len();
    let block = block.max(1);
    // Written, and as much is read.
    simulated_threads::touches(2 * size_of_val(places));
    let places = Places(places.as_mut_ptr());
    // SAFETY: blocks lie within the slice and do not overlap, and the slice is borrowed until all are done.
    map(all.div_ceil(block), &|number| unsafe { one(number * block, places.block(number * block, block, all)) })
}

/// Calls `fill` like [`blocks`], where there is nothing to give back and blocks are short work.
#[track_caller]
pub fn fill<T: Send>(places: &mut [T], block: usize, fill: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let all = places.len();
    let block = block.max(1);
    // As in `blocks`.
    simulated_threads::touches(2 * size_of_val(places));
    let places = Places(places.as_mut_ptr());
    thread_pool::each(all.div_ceil(block), &|number, (): &mut ()| {
        // SAFETY: as in `blocks`.
        fill(number * block, unsafe { places.block(number * block, block, all) });
    });
}

/// Returns the results of `one` for each item, in order.
#[track_caller]
pub fn of_each<T: Send, U: Send>(items: impl IntoIterator<Item = T>, one: &(dyn Fn(T) -> U + Sync)) -> Vec<U> {
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let of = |_, item: &mut [Option<T>]| item.iter_mut().find_map(Option::take).map(one);
    blocks(&mut items, 1, &of).into_iter().flatten().collect()
}

/// Returns the results of `one` like [`of_each`], where each is short work that divides nothing itself.
#[track_caller]
pub(crate) fn of_each_short<T: Send, U: Send>(
    items: impl IntoIterator<Item = T>,
    one: &(dyn Fn(T) -> U + Sync),
) -> Vec<U> {
    let mut all: Vec<(Option<T>, Option<U>)> = items.into_iter().map(|item| (Some(item), None)).collect();
    fill(&mut all, 1, &|_, all| all.iter_mut().for_each(|(item, made)| *made = item.take().map(one)));
    all.into_iter().filter_map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order() {
        assert_eq!(map(1000, &|number| number * 2), (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!(map(100, &|number| vec![number; 3])[99], [99; 3]);
        assert!(map(0, &|number| number).is_empty());
    }

    #[test]
    fn blocks_cover_all_places_once() {
        for (count, block) in [(1000, 7), (7, 7), (6, 7), (0, 7), (5, 1)] {
            let mut places = vec![0; count];
            let found = blocks(&mut places, block, &|first, part| {
                for (number, place) in part.iter_mut().enumerate() {
                    *place += first + number;
                }
                (first, part.len())
            });
            assert_eq!(places, (0..count).collect::<Vec<_>>());
            assert_eq!(found.len(), count.div_ceil(block));
            assert_eq!(found.iter().map(|(_, length)| length).sum::<usize>(), count);
        }
    }

    #[test]
    fn items_are_handed_over_once() {
        let items = || (0..100).map(|number| vec![number; 2]);
        assert_eq!(of_each(items(), &|item: Vec<usize>| item), items().collect::<Vec<_>>());
        assert_eq!(of_each_short(items(), &|item: Vec<usize>| item), items().collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_of_one_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| map(64, &|number| assert_ne!(number, 40)));
        assert!(caught.is_err());
    }
}
