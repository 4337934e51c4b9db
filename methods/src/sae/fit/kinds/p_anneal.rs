//! `p_anneal`: a penalty on codes to the power p, which is annealed from 1, so that small codes cost more and more
//! (Karvonen et al. 2024).

use serde::Serialize;

use super::choice::{CodeChoice, Cost};
use super::{DictionaryKind, FitProgress, KindPass, KindProperties, initial_coefficient, penalised};
use crate::common::*;
use crate::sae::fit::params::DictionaryShape;
use crate::sae::select::greater;

pub const NAME: &str = "p_anneal";

/// The number of last steps over which the penalties of this p and of the next one are compared, as in the paper.
const COMPARED: usize = 10;

crate::options! {
    #[derive(Debug, Serialize)]
    pub struct PAnneal {
        /// Weight of the penalty, the mean over rows of the sum of codes^p, while p is 1; it is adapted with each p, so that
        /// the penalty stays as large.
        l1: Option<f64> = None => at_least(0.0);
        /// The L0 to reach: the coefficient is adapted during training, beginning at `l1` where that is given.
        target: Option<f64> = None => above(0.0);
        /// Last value of p.
        p_end: f64 = 0.2;
        /// The step from which on p falls until the end.
        anneal_start: Option<u64> = None => usually("a tenth of the steps");
        /// Number of values that p takes, the first and the last included.
        updates: u64 = 10;
    }
}

/// The power p at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Power {
    now: f64,
    /// The value after this one, once p has begun to fall.
    next: Option<f64>,
    /// Whether the next step has the next value.
    ends: bool,
}

impl PAnneal {
    /// Returns p at a step, as dictionary_learning has it: p first takes its old value again, from which on it is
    /// compared with the next one, and what the last of the changes leads to would come after the last step.
    fn power(&self, step: u64, steps: u64) -> Power {
        let start = self.anneal_start.unwrap_or(steps / 10);
        let span = steps.saturating_sub(start);
        // No step has two values.
        let last = (self.updates - 1).min(span);
        if last == 0 || step <= start {
            return Power { now: 1.0, next: None, ends: step == start && last > 0 };
        }
        let change = |number: u64| start + (u128::from(number) * u128::from(span) / u128::from(last)) as u64;
        let value = |number: u64| 1.0 + (self.p_end - 1.0) * number as f64 / last as f64;
        // Changes before this step, beginning with 1.
        let passed = (1..=last).take_while(|number| change(*number) < step).count() as u64;
        let ends = passed < last && change(passed + 1) == step;
        Power { now: value(passed), next: Some(value((passed + 1).min(last))), ends }
    }

    fn coefficient(&self, progress: FitProgress) -> f64 {
        progress.memory.first().copied().unwrap_or(initial_coefficient(self.l1))
    }
}

/// Computes the mean over rows of the sum of codes^p. Codes of 0 have no gradient.
pub fn powers(codes: &Tensor, p: f64) -> Result<Tensor> {
    let fires = greater(codes, &codes.zeros_like()?.narrow(0, 0, 1)?.squeeze(0)?)?;
    // Codes of 0 become 1, whose power has a finite gradient.
    let safe = (codes + (fires.neg()? + 1.0)?)?;
    Ok(safe.powf(p)?.mul(&fires)?.sum(1)?.mean(0)?)
}

impl DictionaryKind for PAnneal {
    fn properties(&self) -> KindProperties {
        KindProperties::penalised(NAME, self.l1, self.target)
    }

    fn check(&self, _shape: DictionaryShape) -> Result<()> {
        if !(self.p_end > 0.0 && self.p_end <= 1.0) {
            return Err(err!(Argument, "expected a number above 0 and at most 1 as `p_end`, found {}", self.p_end));
        }
        if self.updates < 2 {
            return Err(err!(Argument, "expected at least 2 as `updates`, found {}", self.updates));
        }
        penalised(["l1", "target"], [self.l1, self.target])
    }

    fn choice(&self, progress: FitProgress) -> Option<CodeChoice<'_>> {
        let power = self.power(progress.step, progress.steps).now;
        Some(CodeChoice::Positive { price: self.coefficient(progress), cost: Cost::Power(power) })
    }

    fn penalty(&self, pass: &KindPass, codes: &Tensor) -> Result<Option<Tensor>> {
        let power = self.power(pass.progress.step, pass.progress.steps);
        Ok(Some((powers(codes, power.now)? * self.coefficient(pass.progress))?))
    }

    /// Returns the coefficient, then pairs of penalties by this p and by the next one, of the last steps.
    fn remembered(&self, progress: FitProgress, powers: &dyn Fn(f64) -> Result<f64>) -> Result<Vec<f64>> {
        let power = self.power(progress.step, progress.steps);
        let Some(next) = power.next else { return Ok(vec![self.coefficient(progress)]) };
        let mut pairs = progress.memory.get(1..).unwrap_or_default().to_vec();
        pairs.extend([powers(power.now)?, powers(next)?]);
        pairs.drain(..pairs.len().saturating_sub(2 * COMPARED));
        let sum = |first: usize| pairs.iter().skip(first).step_by(2).sum::<f64>();
        let ratio = if power.ends && sum(1) > 0.0 { sum(0) / sum(1) } else { 1.0 };
        Ok([vec![self.coefficient(progress) * ratio], pairs].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn p_falls_in_steps_from_where_it_is_said() {
        let kind = PAnneal { l1: Some(1.0), target: None, p_end: 0.4, anneal_start: Some(2), updates: 4 };
        let at = |step| kind.power(step, 8);
        let all: Vec<f64> = (0..8).map(|step| at(step).now).collect();
        let expected = [1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.8, 0.6];
        assert!(all.iter().zip(expected).all(|(p, expected)| (p - expected).abs() < 1e-12), "{all:?}");
        let ends: Vec<u64> = (0..8).filter(|step| at(*step).ends).collect();
        assert_eq!(ends, [2, 4, 6]);
        assert_eq!((at(2).next, at(8).next.map(|p| (p * 10.0).round())), (None, Some(4.0)));
        // Where it would begin after the end, or has more values than steps.
        assert_eq!(kind.power(7, 2), Power { now: 1.0, next: None, ends: false });
        let many = PAnneal { l1: Some(1.0), target: None, p_end: 0.5, anneal_start: Some(0), updates: 1000 };
        assert!((many.power(10, 10).now - 0.55).abs() < 1e-12);
    }

    #[test]
    fn powers_of_codes_are_summed_and_zeros_stay_out() {
        let codes = Tensor::new(&[[4.0_f64, 0.0], [9.0, 1.0]], &Device::Cpu).unwrap();
        assert_eq!(powers(&codes, 0.5).unwrap().to_scalar::<f64>().unwrap(), 3.0);
    }
}
