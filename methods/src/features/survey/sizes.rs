//! The histogram of a feature's activations: exact counts in bins that widen as larger ones come, and some of the
//! positions of each bin.

use serde::{Deserialize, Serialize};

use super::tally::{Moment, mixed};
use crate::base::results::Histogram;

/// The number of bins up to the reach, a power of two above all activations.
const STEPS: usize = 64;
/// The number of positions kept for each bin.
const KEPT: usize = 2;

/// The sizes of activations above and below zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SizeClasses {
    above: Side,
    below: Side,
}

impl SizeClasses {
    /// Takes an activation that is not 0, with a number drawn for it, and returns whether its position is kept.
    pub fn take(&mut self, moment: Moment, draw: u64) -> bool {
        let side = if moment.code > 0.0 { &mut self.above } else { &mut self.below };
        side.take(moment, draw)
    }

    /// Counts the activations of each size, from the lowest to the highest.
    pub fn histogram(&self) -> Histogram {
        let mut edges = vec![0.0];
        let mut counts = Vec::new();
        for (at, count) in self.below.counted() {
            edges.insert(0, -self.below.edge(at + 1));
            counts.insert(0, count);
        }
        for (at, count) in self.above.counted() {
            edges.push(self.above.edge(at + 1));
            counts.push(count);
        }
        Histogram { edges, counts }
    }

    /// Returns the positions that are kept.
    pub fn kept(&self) -> impl Iterator<Item = &Moment> {
        [&self.above, &self.below].into_iter().flat_map(Side::kept)
    }

    /// Returns at most `count` of the kept positions whose activations lie in the interval from `low` to `high`, `high`
    /// included, spread evenly over it.
    pub fn within(&self, low: f64, high: f64, count: usize) -> Vec<Moment> {
        let is_within = |moment: &&Moment| f64::from(moment.code) > low && f64::from(moment.code) <= high;
        let mut found: Vec<Moment> = self.kept().filter(is_within).copied().collect();
        found.sort_by(|a, b| b.code.total_cmp(&a.code).then((a.row, a.column).cmp(&(b.row, b.column))));
        let all = found.len();
        let is_chosen = |at: usize| (at * count) / all != ((at + 1) * count) / all;
        if all > count {
            (0..all).filter(|at| is_chosen(*at)).filter_map(|at| found.get(at).copied()).collect()
        } else {
            found
        }
    }
}

/// Activations of one sign, by their distance from zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    /// A bound above all activations so far; 0 before the first.
    reach: f32,
    counts: Vec<u64>,
    /// The kept positions: `KEPT` slots a step, of which as many are filled as the step has activations.
    some: Vec<Moment>,
}

impl Side {
    fn take(&mut self, moment: Moment, draw: u64) -> bool {
        let size = moment.code.abs();
        if self.counts.is_empty() {
            let nothing = Moment { row: 0, column: 0, code: 0.0 };
            (self.counts, self.some) = (vec![0; STEPS], vec![nothing; STEPS * KEPT]);
            self.reach = above(size);
        }
        while size >= self.reach && self.reach < f32::MAX {
            self.widen(draw);
        }
        let step = ((size / self.reach * STEPS as f32) as usize).min(STEPS - 1);
        let Some(count) = self.counts.get_mut(step) else { return false };
        *count += 1;
        // Each activation of the step is kept with the same probability (Vitter 1985).
        let place = if *count <= KEPT as u64 { *count - 1 } else { draw % *count };
        let kept = (place < KEPT as u64).then(|| self.some.get_mut(step * KEPT + place as usize)).flatten();
        let is_kept = kept.is_some();
        if let Some(kept) = kept {
            *kept = moment;
        }
        is_kept
    }

    /// Doubles the reach: two steps become one.
    fn widen(&mut self, draw: u64) {
        let nothing = Moment { row: 0, column: 0, code: 0.0 };
        let mut counts = vec![0; STEPS];
        let mut some = vec![nothing; STEPS * KEPT];
        let pairs = self.counts.chunks(2).zip(self.some.chunks(2 * KEPT));
        for (step, (pair, kept)) in pairs.enumerate() {
            let mut low = pair.iter().take(1).sum::<u64>();
            let mut high = pair.iter().skip(1).sum::<u64>();
            let (of_low, of_high) = kept.split_at(KEPT);
            let mut of_low = of_low.iter().take(low.min(KEPT as u64) as usize);
            let mut of_high = of_high.iter().take(high.min(KEPT as u64) as usize);
            counts[step] = low + high;
            for (turn, place) in some.iter_mut().skip(step * KEPT).take(KEPT).enumerate() {
                let is_low = mixed(draw ^ (step * KEPT + turn) as u64) % (low + high).max(1) < low;
                let taken = if is_low { of_low.next() } else { of_high.next() };
                *(if is_low { &mut low } else { &mut high }) -= u64::from(taken.is_some());
                *place = taken.copied().unwrap_or(nothing);
            }
        }
        (self.counts, self.some) = (counts, some);
        self.reach = if self.reach > f32::MAX / 2.0 { f32::MAX } else { self.reach * 2.0 };
    }

    /// Returns the lower edge of a step.
    fn edge(&self, step: usize) -> f64 {
        f64::from(self.reach) * step as f64 / STEPS as f64
    }

    /// Returns steps and their counts, up to the last that has any.
    fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        let last = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        self.counts.iter().copied().take(last).enumerate()
    }

    fn kept(&self) -> impl Iterator<Item = &Moment> {
        let steps = self.counts.iter().zip(self.some.chunks(KEPT));
        steps.flat_map(|(count, some)| some.iter().take((*count).min(KEPT as u64) as usize))
    }
}

/// Returns the power of two above a size.
fn above(size: f32) -> f32 {
    let bits = size.to_bits() & 0x7f80_0000;
    let power = f32::from_bits(bits).max(f32::MIN_POSITIVE);
    if power > f32::MAX / 2.0 { f32::MAX } else { power * 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(codes: &[f32]) -> SizeClasses {
        let mut sizes = SizeClasses::default();
        for (row, code) in codes.iter().enumerate() {
            sizes.take(Moment { row: row as u32, column: 0, code: *code }, mixed(row as u64));
        }
        sizes
    }

    #[test]
    fn codes_are_counted_between_edges_that_follow_the_largest() {
        let found = taken(&[0.5, 1.0, -3.0, 1.02]).histogram();
        assert_eq!((found.edges.first(), found.edges.last()), (Some(&-3.0625), Some(&1.03125)));
        assert_eq!(found.edges.len(), found.counts.len() + 1);
        assert_eq!((found.counts[0], found.counts.last()), (1, Some(&2)));
        let largest = taken(&[f32::MAX, f32::MIN_POSITIVE, 1.0]).histogram();
        assert_eq!((largest.counts[0], largest.counts[63]), (2, 1));
    }

    #[test]
    fn positions_of_a_size_are_spread_over_it() {
        let sizes = taken(&(1..=1000).map(|i| i as f32 / 1000.0).collect::<Vec<_>>());
        let found = sizes.within(0.4, 0.6, 4);
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|moment| moment.code > 0.4 && moment.code <= 0.6), "{found:?}");
        assert!(found.windows(2).all(|pair| pair[0].code - pair[1].code > 0.02), "{found:?}");
        assert_eq!(sizes.within(2.0, 3.0, 4), []);
        assert_eq!(sizes.within(0.4, 0.6, 0), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_comes(codes in prop::collection::vec(-1e20_f32..1e20, 1..200), scale in -30_i32..15) {
            let codes: Vec<f32> = codes.iter().map(|code| code * 10_f32.powi(scale)).filter(|code| *code != 0.0).collect();
            let sizes = taken(&codes);
            let found = sizes.histogram();
            prop_assert_eq!(found.counts.iter().sum::<u64>(), codes.len() as u64);
            for (edges, count) in found.edges.windows(2).zip(&found.counts) {
                let within = |code: &&f32| {
                    let size = f64::from(**code);
                    if size > 0.0 { size >= edges[0] && size < edges[1] } else { size > edges[0] && size <= edges[1] }
                };
                prop_assert_eq!(codes.iter().filter(within).count() as u64, *count);
            }
            for side in [&sizes.above, &sizes.below] {
                for moment in side.kept() {
                    prop_assert_eq!(codes[moment.row as usize], moment.code);
                }
            }
        }
    }
}
