//! Comparison sets for a circuit: as many other features of each dictionary, all of them active in the text.

use rand::RngExt;
use rand::seq::index;

use super::runs::JudgedRuns;
use crate::common::*;

/// The number of features with the nearest sums of activations from which a match is drawn.
const NEAREST: usize = 10;

/// Ways to select the features of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// Uniform draws from the active features.
    Active,
    /// A feature for each one of the circuit whose activations have about the same sum over the text.
    AsActive,
    /// Matches by the sum over the evaluated rows, up to the last measured position of each.
    AsActiveHere,
    /// The features with the largest sums in these rows: one set.
    MostActiveHere,
}

impl SetKind {
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Active, "random, active"),
        (Self::AsActive, "random, as active in the text"),
        (Self::AsActiveHere, "random, as active in these rows"),
        (Self::MostActiveHere, "the most active others in these rows"),
    ];
}

/// Features of one dictionary, each with the sum of its activations, smallest first.
type FeatureSums = Vec<(usize, f64)>;

/// The features of one dictionary.
struct LevelFeatures {
    /// The active features outside the circuit, by the sum of their activations over the text.
    free: FeatureSums,
    /// The features outside the circuit by the sum in the evaluated rows, inactive ones included.
    free_here: FeatureSums,
    /// The features of the circuit with either sum.
    kept: FeatureSums,
    kept_here: FeatureSums,
}

/// Features to draw from, level by level.
pub struct Pool {
    levels: Vec<LevelFeatures>,
    seed: u64,
}

impl Pool {
    pub fn of(runs: &JudgedRuns, kept: &[Vec<usize>], seed: u64, task: &Task) -> Result<Self> {
        let here = runs.masses(task)?;
        let level = |(level, kept): (usize, &Vec<usize>)| {
            let tallies = runs.tallies(level);
            let fired: Vec<bool> = tallies.iter().map(|tally| tally.fired > 0).collect();
            let sums: Vec<f64> = tallies.iter().map(|tally| tally.sum).collect();
            LevelFeatures::of(&fired, &sums, &here[level], kept)
        };
        Ok(Self { levels: kept.iter().enumerate().map(level).collect(), seed })
    }

    /// Draws as many features of each dictionary as the circuit has, fewer where there are not so many.
    pub fn set(&self, kind: SetKind, draw: usize) -> Vec<Vec<usize>> {
        let random = |purpose: &str| stream(self.seed, purpose, draw as u64);
        match kind {
            SetKind::Active => {
                let mut random = random("random features");
                let level = |level: &LevelFeatures| {
                    let count = level.kept.len().min(level.free.len());
                    index::sample(&mut random, level.free.len(), count).iter().map(|i| level.free[i].0).collect()
                };
                self.levels.iter().map(level).collect()
            }
            SetKind::AsActive => {
                let mut random = random("features that are as active");
                self.levels.iter().map(|level| matched(&level.free, &level.kept, &mut random)).collect()
            }
            SetKind::AsActiveHere => {
                let mut random = random("features that are as active in the rows judged");
                self.levels.iter().map(|level| matched(&level.free_here, &level.kept_here, &mut random)).collect()
            }
            SetKind::MostActiveHere => {
                let largest = |level: &LevelFeatures| {
                    level.free_here.iter().rev().take(level.kept.len()).map(|(f, _)| *f).collect()
                };
                self.levels.iter().map(largest).collect()
            }
        }
    }
}

impl LevelFeatures {
    fn of(fired: &[bool], text: &[f64], here: &[f64], kept: &[usize]) -> Self {
        let free = |sums: &[f64]| {
            let features = (0..fired.len()).filter(|feature| fired[*feature] && !kept.contains(feature));
            let mut free: FeatureSums = features.map(|feature| (feature, sums[feature])).collect();
            order::sort_ascending(&mut free, |(_, sum)| *sum);
            free
        };
        let sums = |sums: &[f64]| kept.iter().map(|feature| (*feature, sums[*feature])).collect();
        Self { free: free(text), free_here: free(here), kept: sums(text), kept_here: sums(here) }
    }
}

/// Draws for each feature of the circuit another one with about the same sum, none of them twice.
fn matched(free: &FeatureSums, kept: &FeatureSums, random: &mut impl RngExt) -> Vec<usize> {
    let mut free = free.clone();
    let mut chosen = Vec::new();
    for (_, sum) in kept {
        let place = free.partition_point(|(_, other)| other < sum);
        let start = place.saturating_sub(NEAREST / 2).min(free.len().saturating_sub(NEAREST));
        let end = (start + NEAREST).min(free.len());
        if start < end {
            chosen.push(free.remove(random.random_range(start..end)).0);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a hundred features, of which every fifth is never active; sums rise with the number in the text, and fall
    /// with it in the evaluated rows.
    fn pool(kept: &[usize]) -> Pool {
        let fired: Vec<bool> = (0..100).map(|feature| feature % 5 != 0).collect();
        let text: Vec<f64> = (0..100).map(f64::from).collect();
        let here: Vec<f64> = (0..100).map(|feature| f64::from(100 - feature)).collect();
        Pool {
            levels: vec![LevelFeatures::of(&fired, &text, &here, kept), LevelFeatures::of(&fired, &text, &here, &[])],
            seed: 3,
        }
    }

    #[test]
    fn each_kind_has_as_many_active_features_that_are_not_of_the_circuit() {
        let kept = [1, 52, 97];
        let pool = pool(&kept);
        for (kind, _) in SetKind::ALL {
            for draw in 0..30 {
                let set = pool.set(kind, draw);
                let mut features = set[0].clone();
                features.sort_unstable();
                features.dedup();
                assert_eq!((features.len(), set[1].len()), (3, 0), "{kind:?}");
                assert!(
                    features.iter().all(|feature| feature % 5 != 0 && !kept.contains(feature)),
                    "{kind:?}: {features:?}"
                );
                assert_eq!(set, pool.set(kind, draw));
            }
        }
        // The sets of one call differ from each other; the most active ones are one set.
        for kind in [SetKind::Active, SetKind::AsActive, SetKind::AsActiveHere] {
            let sets: Vec<_> = (0..5).map(|draw| pool.set(kind, draw)).collect();
            assert!((0..5).all(|at| !sets[..at].contains(&sets[at])), "{kind:?}: {sets:?}");
        }
    }

    #[test]
    fn sums_are_matched_and_the_largest_taken() {
        let kept = [1, 52, 97];
        for kind in [SetKind::AsActive, SetKind::AsActiveHere] {
            // Ten of those that are active lie within 7 of one in the middle, and within 15 at an end.
            for draw in 0..30 {
                let found = pool(&kept).set(kind, draw).remove(0);
                assert!(found.iter().zip(kept).all(|(found, kept)| found.abs_diff(kept) <= 15), "{kind:?}: {found:?}");
                assert!(found[1].abs_diff(52) <= 8, "{kind:?}: {found:?}");
            }
        }
        // In the rows that are judged the first ones are the most active.
        assert_eq!(pool(&kept).set(SetKind::MostActiveHere, 0)[0], [2, 3, 4]);
        let few = LevelFeatures::of(&[true, true, false], &[1.0, 2.0, 0.0], &[0.0; 3], &[1]);
        assert_eq!(matched(&few.free_here, &vec![(1, 0.0), (2, 0.0)], &mut stream(0, "few", 0)), [0]);
    }
}
