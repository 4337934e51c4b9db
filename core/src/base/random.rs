//! Seeded randomness: one seed drives a whole run, and every draw is the same on every machine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The seed of a call that states none: another one in each call.
pub const OF_CALL: &str = "the call's own, which follows from the run's";

/// The `seed` of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seed {
    stated: Option<i64>,
    own: u64,
}

impl Seed {
    /// Returns a seed that the call states.
    pub const fn of(seed: i64) -> Self {
        Self { stated: Some(seed), own: 0 }
    }

    /// Returns the seed that the call states.
    pub fn stated(self) -> Option<i64> {
        self.stated
    }

    pub fn is_stated(self) -> bool {
        self.stated.is_some()
    }

    /// Returns the seed of what a call draws: controls, first weights, the order of a training.
    pub fn draws(self) -> u64 {
        self.stated.map_or(self.own, i64::cast_unsigned)
    }

    /// Returns the seed of what a call takes of the data to judge on. It is the same in each call that states no seed,
    /// so that what several calls find can be compared.
    pub fn sample(self) -> u64 {
        self.stated.unwrap_or_default().cast_unsigned()
    }
}

impl From<Option<i64>> for Seed {
    fn from(stated: Option<i64>) -> Self {
        Self { stated, own: 0 }
    }
}

/// The caller that draws: a function, and the text in which it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// The function's name in the reference, such as `tensor::randn`.
    pub function: String,
    /// The name by which the text is imported; none is that of the script, or of the lines of a prompt.
    pub place: String,
}

impl Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.function),
            place => write!(f, "{place} {}", self.function),
        }
    }
}

impl From<&str> for Caller {
    /// Reads a displayed caller; names of functions have no blank.
    fn from(text: &str) -> Self {
        let (place, function) = text.rsplit_once(' ').unwrap_or(("", text));
        Self { function: function.into(), place: place.into() }
    }
}

/// The run's seed, and how often each function has drawn without a seed of its own.
///
/// The seed of such a call follows from the run's, from the function, from whose text it is called in, and from how often
/// it was called there before, and from nothing else: so two calls in a row differ, and what stands before them changes
/// nothing.
#[derive(Debug, Default)]
pub struct Randomness {
    seed: Cell<u64>,
    turns: RefCell<BTreeMap<Caller, u64>>,
}

impl Randomness {
    pub fn new(seed: u64) -> Self {
        Self { seed: Cell::new(seed), turns: RefCell::default() }
    }

    pub fn seed(&self) -> u64 {
        self.seed.get()
    }

    /// Starts again from `seed`, as at the beginning of a run.
    pub fn restart(&self, seed: u64) {
        self.seed.set(seed);
        self.turns.borrow_mut().clear();
    }

    /// Runs the work of a call with the seed that it states, or else with its own. A call that fails or is interrupted
    /// has left nothing that was drawn, so it does not count.
    pub fn drawing<T, E>(
        &self,
        caller: Caller,
        seed: Seed,
        work: impl FnOnce(Seed) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if seed.is_stated() {
            return work(seed);
        }
        let turn = self.turn(&caller);
        self.turns.borrow_mut().insert(caller.clone(), turn + 1);
        let done = work(Seed { stated: None, own: seed_of_call(self.seed(), &caller, turn) });
        // A function of the script's that the call ran may have drawn by the same name.
        if done.is_err() && self.turn(&caller) == turn + 1 {
            self.turns.borrow_mut().insert(caller, turn);
        }
        done
    }

    /// Returns how often each function has drawn.
    pub fn counts(&self) -> BTreeMap<Caller, u64> {
        self.turns.borrow().clone()
    }

    /// Continues as if a function had drawn so often.
    pub fn count(&self, caller: Caller, times: u64) {
        self.turns.borrow_mut().insert(caller, times);
    }

    /// Restores the counts of an earlier time.
    pub fn go_back(&self, counts: BTreeMap<Caller, u64>) {
        *self.turns.borrow_mut() = counts;
    }

    fn turn(&self, caller: &Caller) -> u64 {
        self.turns.borrow().get(caller).copied().unwrap_or_default()
    }
}

/// Computes the seed of a call: the first 63 bits of SHA-256 of the run's seed and the turn (each 8 bytes, the lowest
/// first), the function, a zero, and the place. Numbers of scripts hold that many, so that a call may state it. It is
/// never the run's.
pub fn seed_of_call(run: u64, caller: &Caller, turn: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(run.to_le_bytes());
    hash.update(turn.to_le_bytes());
    hash.update(caller.function.as_bytes());
    hash.update([0]);
    hash.update(caller.place.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let (words, _) = digest.as_chunks::<8>();
    let seeds = words.iter().map(|word| u64::from_le_bytes(*word) >> 1);
    seeds.into_iter().find(|seed| *seed != run).unwrap_or_default()
}

/// Returns the generator of a seed that a call states, or that is its own.
pub fn generator(seed: u64) -> ChaCha8Rng {
    stream(seed, "stated", 0)
}

/// Returns the generator of `seed` for one purpose, independent of every other purpose and turn.
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

    fn caller(function: &str, place: &str) -> Caller {
        Caller { function: function.into(), place: place.into() }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_streams_differ() {
        let draw = |seed, turn| stream(seed, "test", turn).next_u64();
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn the_seed_of_a_call_stays_what_it_is() {
        let seeds = [
            seed_of_call(0, &caller("tensor::randn", ""), 0),
            seed_of_call(0, &caller("tensor::randn", ""), 1),
            seed_of_call(0, &caller("sae::fit", "std/experiments"), 0),
            seed_of_call(7, &caller("tensor::randn", ""), 0),
        ];
        assert_eq!(
            seeds,
            [
                5_417_481_360_497_239_484,
                3_862_297_022_623_033_283,
                1_001_979_612_685_994_233,
                4_258_271_821_798_212_009
            ]
        );
    }

    #[test]
    fn seeds_of_calls_never_meet() {
        let mut seen = std::collections::BTreeSet::new();
        for run in [0, 1, 2, u64::MAX] {
            seen.insert(run);
            for (function, place) in
                [("tensor::randn", ""), ("tensor::rand", "n"), ("sae::fit", ""), ("sae::fit", "std/toy")]
            {
                for turn in 0..10_000 {
                    assert!(seen.insert(seed_of_call(run, &caller(function, place), turn)), "{run} {function} {turn}");
                }
            }
        }
    }

    #[test]
    fn a_call_counts_if_it_drew() {
        let run = Randomness::new(5);
        let draw =
            |function: &str, seed: Seed| run.drawing(caller(function, ""), seed, |seed| Ok::<_, ()>(seed.draws()));
        let first = draw("a", Seed::default()).unwrap();
        run.restart(5);
        // Another function, a stated seed and a failure leave the next call what it was.
        draw("b", Seed::default()).unwrap();
        assert_eq!(draw("a", Seed::of(3)), Ok(3));
        assert_eq!(run.drawing(caller("a", ""), Seed::default(), |_| Err::<(), _>(())), Err(()));
        assert_eq!(draw("a", Seed::default()), Ok(first));
        assert_ne!(draw("a", Seed::default()), Ok(first));
        // What was drawn within a call that failed stays drawn.
        let within = run.drawing(caller("a", ""), Seed::default(), |_| {
            let within = draw("a", Seed::default()).unwrap();
            Err::<(), _>(within)
        });
        assert_ne!(draw("a", Seed::default()).unwrap(), within.unwrap_err());
    }
}
