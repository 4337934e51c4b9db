//! Work in pieces on all threads. rayon is compiled anew for every closure, which was a third of this crate; these
//! functions are compiled once for each type of result.

use rayon::prelude::*;

/// The results of `one` for each index below `count`, in order.
pub fn map<U: Send>(count: usize, one: &(dyn Fn(usize) -> U + Sync)) -> Vec<U> {
    (0..count).into_par_iter().map(one).collect()
}

/// Calls `fill` with each block of this many places, and the index of its first one.
pub fn fill<T: Send>(places: &mut [T], block: usize, fill: &(dyn Fn(usize, &mut [T]) + Sync)) {
    places.par_chunks_mut(block).enumerate().for_each(|(number, part)| fill(number * block, part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order() {
        assert_eq!(map(1000, &|number| number * 2), (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        let mut places = vec![0; 1000];
        fill(&mut places, 7, &|first, part| {
            for (number, place) in part.iter_mut().enumerate() {
                *place = first + number;
            }
        });
        assert_eq!(places, (0..1000).collect::<Vec<_>>());
    }
}
