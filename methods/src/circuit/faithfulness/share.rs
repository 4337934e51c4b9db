//! A metric as a share of the difference between everything and nothing, with its interval.

use crate::circuit::ablations::{Ablations, no_number};
use crate::common::*;

/// The share of the larger end below which two ends count as equal: rounding in f32 alone makes such differences.
const SAME: f64 = 1e-6;

/// (m - m(nothing)) / (m(everything) - m(nothing)).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    /// The share; none where both ends are equal.
    pub value: Option<f64>,
    /// 95 %, by the bootstrap over pairs; none for a single pair.
    pub interval: Option<[f64; 2]>,
}

/// The metric of each pair with everything kept, and with nothing.
pub struct EndMetrics {
    all: Vec<f64>,
    empty: Vec<f64>,
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Measures each pair; refuses a metric that is not a number.
pub fn measured(runs: &dyn Ablations, kept: &[bool], task: &Task) -> Result<Vec<f64>> {
    task.check()?;
    let values = runs.values(kept, task)?;
    if values.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(pair) => {
            let count = kept.iter().filter(|kept| **kept).count();
            let when = format!(" with {count} of {} units kept", kept.len());
            Err(no_number(values[pair], pair, &when))
        }
    }
}

impl EndMetrics {
    pub fn of(runs: &dyn Ablations, task: &Task) -> Result<Self> {
        let units = runs.units();
        Ok(Self { all: measured(runs, &vec![true; units], task)?, empty: measured(runs, &vec![false; units], task)? })
    }

    pub fn pairs(&self) -> usize {
        self.all.len()
    }

    pub fn everything(&self) -> f64 {
        mean(&self.all)
    }

    pub fn nothing(&self) -> f64 {
        mean(&self.empty)
    }

    /// Computes the share of some values, with its interval over pairs.
    pub fn share(&self, values: &[f64], seed: u64) -> Share {
        let all = self.everything();
        let empty = self.nothing();
        if (all - empty).abs() <= SAME * all.abs().max(empty.abs()) {
            return Share::default();
        }
        let every: Vec<usize> = (0..self.pairs()).collect();
        let interval = bootstrap(self.pairs(), seed, |drawn| self.ratio(values, drawn));
        Share { value: Some(self.ratio(values, &every)), interval }
    }

    /// Computes the share of the values of some pairs; a pair counts as often as it is among them.
    pub fn ratio(&self, values: &[f64], pairs: &[usize]) -> f64 {
        let sum = |values: &[f64]| pairs.iter().map(|pair| values[*pair]).sum::<f64>();
        (sum(values) - sum(&self.empty)) / (sum(&self.all) - sum(&self.empty))
    }
}
