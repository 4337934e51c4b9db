//! The densities of a dictionary's features.

use crate::base::results::Histogram;

/// The counts of the features over all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The number of rows in which each feature was active: its code was not 0.
    pub fired: Vec<u64>,
    pub rows: u64,
    /// A feature is dead if it was active in at most this many rows.
    pub dead_at_most: u64,
}

/// Bins of the density histogram in a factor of ten.
const BINS_A_DECADE: usize = 4;

impl Features {
    pub fn dead(&self) -> usize {
        self.fired.iter().filter(|fired| **fired <= self.dead_at_most).count()
    }

    /// Returns the share of features that are dead.
    pub fn dead_share(&self) -> f64 {
        self.dead() as f64 / self.fired.len() as f64
    }

    /// Returns the share of rows in which each feature was active.
    pub fn densities(&self) -> Vec<f64> {
        self.fired.iter().map(|fired| *fired as f64 / self.rows as f64).collect()
    }

    /// Counts features by log10 of their density, those that were active at all, from one row in all to 0 (Bricken et
    /// al. 2023).
    pub fn histogram(&self) -> Histogram {
        let decades = (self.rows as f64).log10().ceil().max(1.0);
        let bins = decades as usize * BINS_A_DECADE;
        let edges = (0..=bins).map(|bin| bin as f64 / BINS_A_DECADE as f64 - decades).collect();
        let mut counts = vec![0; bins];
        for density in self.densities().into_iter().filter(|density| *density > 0.0) {
            let bin = (density.log10() + decades) * BINS_A_DECADE as f64;
            if let Some(count) = counts.get_mut((bin as usize).min(bins - 1)) {
                *count += 1;
            }
        }
        Histogram { edges, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_are_counted_by_their_logarithm_and_the_dead_apart() {
        let features = Features { fired: vec![0, 1, 10, 50, 100], rows: 100, dead_at_most: 0 };
        assert_eq!((features.dead(), features.dead_share()), (1, 0.2));
        assert_eq!(Features { dead_at_most: 10, ..features.clone() }.dead(), 3);
        assert_eq!(features.densities(), [0.0, 0.01, 0.1, 0.5, 1.0]);
        let histogram = features.histogram();
        assert_eq!(histogram.edges, [-2.0, -1.75, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0]);
        assert_eq!(histogram.counts, [1, 0, 0, 0, 1, 0, 1, 1]);
        let one = Features { fired: vec![1], rows: 1, dead_at_most: 0 }.histogram();
        assert_eq!(one.counts.iter().sum::<u64>(), 1);
    }
}
