//! Seeded randomness: one seed drives a whole run, and every draw is the same on every machine.

use std::cell::Cell;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The run's seed, and the number of streams taken from it.
///
/// A call without its own seed takes the next stream of the run, so that the same script gives the same numbers
/// whatever the length of each draw.
#[derive(Debug, Default)]
pub struct Randomness {
    seed: Cell<u64>,
    taken: Cell<u64>,
}

impl Randomness {
    pub fn new(seed: u64) -> Self {
        Self { seed: Cell::new(seed), taken: Cell::new(0) }
    }

    pub fn seed(&self) -> u64 {
        self.seed.get()
    }

    /// Starts again from `seed`, as at the beginning of a run.
    pub fn restart(&self, seed: u64) {
        self.seed.set(seed);
        self.taken.set(0);
    }

    /// The generator for one call: of the seed it states, or else the run's next stream.
    pub fn generator(&self, stated: Option<u64>) -> ChaCha8Rng {
        match stated {
            Some(seed) => stream(seed, "stated", 0),
            None => {
                let turn = self.taken.get();
                self.taken.set(turn + 1);
                stream(self.seed.get(), "run", turn)
            }
        }
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct SeedOptions {
        /// The seed of this call.
        seed: Option<i64> = None => usually("the run's seed");
    }
}

impl SeedOptions {
    /// The seed that the call states, if it states one.
    pub fn stated(&self) -> Option<u64> {
        self.seed.map(|seed| seed as u64)
    }
}

/// The generator of `seed` for one purpose, independent of every other purpose and turn.
pub fn stream(seed: u64, purpose: &str, turn: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(turn.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_streams_differ() {
        let draw = |seed, turn| stream(seed, "test", turn).next_u64();
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        let run = Randomness::new(5);
        let (first, second) = (run.generator(None).next_u64(), run.generator(None).next_u64());
        assert_ne!(first, second);
        run.restart(5);
        assert_eq!(run.generator(None).next_u64(), first);
    }
}
