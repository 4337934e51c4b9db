//! Random features to stand beside those of a circuit: as many in each dictionary, all of them active on the text.

use rand::RngExt;
use rand::seq::index;

use super::runs::Runs;
use crate::base::random::stream;

/// Each is matched by one of so many whose codes have the nearest mean over all positions: what is taken off with them.
const NEAREST: usize = 10;

/// Features of one dictionary, each with the sum of its codes, smallest first.
type Sums = Vec<(usize, f64)>;

/// Features to draw from.
pub struct Pool {
    /// Level by level: features that are active and not of the circuit, by the sum of their codes.
    active: Vec<Sums>,
    /// The features of the circuit.
    kept: Vec<Sums>,
    seed: u64,
}

impl Pool {
    pub fn of(runs: &Runs, kept: &[Vec<usize>], seed: u64) -> Self {
        let sum = |level: usize, feature: usize| runs.tallies(level).get(feature).map_or(0.0, |tally| tally.sum);
        let active = (0..kept.len()).map(|level| {
            let tallies = runs.tallies(level).iter().enumerate();
            let free = tallies.filter(|(feature, tally)| tally.fired > 0 && !kept[level].contains(feature));
            let mut free: Sums = free.map(|(feature, tally)| (feature, tally.sum)).collect();
            free.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            free
        });
        let with_sums = |(level, kept): (usize, &Vec<usize>)| -> Sums {
            kept.iter().map(|feature| (*feature, sum(level, *feature))).collect()
        };
        Self { active: active.collect(), kept: kept.iter().enumerate().map(with_sums).collect(), seed }
    }

    /// As many active features of each dictionary as the circuit has, each set of them as likely as the other.
    pub fn drawn(&self, draw: usize) -> Vec<Vec<usize>> {
        let mut random = stream(self.seed, "random features", draw as u64);
        let level = |(active, kept): (&Sums, &Sums)| {
            let chosen = index::sample(&mut random, active.len(), kept.len().min(active.len()));
            chosen.iter().map(|i| active[i].0).collect()
        };
        self.active.iter().zip(&self.kept).map(level).collect()
    }

    /// For each feature of the circuit another one that is about as active.
    pub fn matched(&self, draw: usize) -> Vec<Vec<usize>> {
        let mut random = stream(self.seed, "features that are as active", draw as u64);
        let level = |(active, kept): (&Sums, &Sums)| {
            let mut free = active.clone();
            let mut chosen = Vec::new();
            for (_, mean) in kept.iter().filter(|_| !active.is_empty()) {
                let place = free.partition_point(|(_, other)| other < mean);
                let start = place.saturating_sub(NEAREST / 2).min(free.len().saturating_sub(NEAREST));
                let end = (start + NEAREST).min(free.len());
                if start < end {
                    chosen.push(free.remove(random.random_range(start..end)).0);
                }
            }
            chosen
        };
        self.active.iter().zip(&self.kept).map(level).collect()
    }
}
