//! Effects over pairs: their means with intervals.

use std::fmt::Display;

use super::groups::{PairGroup, PatchDirection};
use crate::common::*;
use crate::intervene::metric::Normaliser;

/// The effects of one patch, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
struct EffectSums {
    sum: f64,
    squares: f64,
    count: usize,
}

impl EffectSums {
    fn join(&mut self, other: Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.count += other.count;
    }
}

/// A mean over pairs, with its 95 % interval: 1.96 standard errors to each side. One pair has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanEffect {
    pub mean: f64,
    pub interval: [f64; 2],
}

/// The metric of each pair in the run that is patched, and in the one that is patched in.
#[derive(Debug, Clone, Default)]
pub struct BothRuns {
    pub run: Vec<f64>,
    pub from: Vec<f64>,
}

impl BothRuns {
    /// Refuses a metric that is NaN without any patch.
    pub fn check(&self, group: &PairGroup) -> Result<()> {
        let each = self.run.iter().zip(&self.from).zip(&group.numbers);
        match each.into_iter().find(|((run, from), _)| run.is_nan() || from.is_nan()) {
            Some((_, number)) => Err(err!(Numeric, "the metric of pair {number} is NaN").about("pairs")),
            None => Ok(()),
        }
    }
}

/// The effects of patches on pairs.
#[derive(Debug, Clone)]
pub struct PatchEffects<K> {
    sums: BTreeMap<K, EffectSums>,
    both: BothRuns,
}

impl<K: Ord + Display> PatchEffects<K> {
    pub fn new(pairs: usize) -> Self {
        let unknown = vec![f64::NAN; pairs];
        Self { sums: BTreeMap::new(), both: BothRuns { run: unknown.clone(), from: unknown } }
    }

    /// Adds the change of each pair of a group by a patch.
    pub fn add(&mut self, group: &PairGroup, patch: K, effects: impl Iterator<Item = f64>) -> Result<()> {
        let mut here = EffectSums::default();
        for (effect, number) in effects.zip(&group.numbers) {
            if effect.is_nan() {
                return Err(err!(Numeric, "the metric of pair {number} is NaN where {patch} is patched").about("pairs"));
            }
            here.join(EffectSums { sum: effect, squares: effect * effect, count: 1 });
        }
        self.sums.entry(patch).or_default().join(here);
        Ok(())
    }

    /// Adds the effects on other pairs, whose patches may have other names there.
    pub fn join(&mut self, other: Self, name: impl Fn(K) -> K) {
        for (patch, sum) in other.sums {
            self.sums.entry(name(patch)).or_default().join(sum);
        }
    }

    /// Notes the metric of a group without any patch.
    pub fn unpatched(&mut self, group: &PairGroup, both: &BothRuns) {
        for (at, number) in group.numbers.iter().enumerate() {
            (self.both.run[*number], self.both.from[*number]) = (both.run[at], both.from[at]);
        }
    }

    /// Returns the mean of each patch; of a normalised metric as a share of the difference between clean and corrupt
    /// prompts.
    pub fn means(self, direction: PatchDirection, normalised: bool) -> Result<BTreeMap<K, MeanEffect>> {
        let (clean, corrupt) = match direction {
            PatchDirection::Denoise => (&self.both.from, &self.both.run),
            PatchDirection::Noise => (&self.both.run, &self.both.from),
        };
        let scale = if normalised { Normaliser::new(clean, corrupt)?.distance() } else { 1.0 };
        let mean = |EffectSums { sum, squares, count }: EffectSums| {
            let n = count as f64;
            let mean = sum / n / scale;
            let variance = (squares - sum * sum / n).max(0.0) / (n - 1.0);
            let margin = if count > 1 { 1.96 * (variance / n).sqrt() / scale.abs() } else { f64::NAN };
            MeanEffect { mean, interval: [mean - margin, mean + margin] }
        };
        Ok(self.sums.into_iter().map(|(patch, sum)| (patch, mean(sum))).collect())
    }
}
