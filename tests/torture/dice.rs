//! Seeded random choices, so that a case is reproducible from its part, the seed and its number.

use microtome::base::random;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, purpose: &str, number: u64) -> Self {
        Self(random::stream(seed, purpose, number))
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.0.random_bool(share)
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// An index below a length, usually near the beginning or the end.
    pub fn place(&mut self, length: usize) -> usize {
        let reach = if self.chance(0.7) { length.min(96) } else { length };
        let place = self.below(reach.max(1)).min(length);
        if self.chance(0.3) { length - place } else { place }
    }
}
