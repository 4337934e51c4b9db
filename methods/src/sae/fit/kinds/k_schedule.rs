//! The number of codes of a row over a fit: constant, or annealed from a larger one, so that all features learn before
//! few are active (Minder et al. 2025 begin at 1,024 and reach 100 after 2,000 steps).

use super::FitProgress;
use crate::common::*;
use crate::sae::fit::params::DictionaryShape;

/// `k`, reached linearly from `start` within `steps`; by default in a tenth of all steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KSchedule {
    pub k: usize,
    pub start: Option<usize>,
    pub steps: Option<usize>,
}

impl KSchedule {
    /// Returns the k of a step.
    pub fn at(self, progress: FitProgress) -> usize {
        let Some(start) = self.start else { return self.k };
        let steps = self.steps.map_or(progress.steps / 10, |steps| steps as u64).max(1);
        let share = (progress.step as f64 / steps as f64).min(1.0);
        (start as f64 + (self.k as f64 - start as f64) * share).round() as usize
    }

    pub fn check(self, shape: DictionaryShape) -> Result<()> {
        few(self.k, shape)?;
        let k = self.k;
        let features = shape.d_sae;
        match (self.start, self.steps) {
            (Some(start), _) if start < k || start > features => {
                Err(err!(Argument, "expected `k_start` from {k}, the k, to {features}, the features, found {start}")
                    .about("k_start"))
            }
            (None, Some(_)) => {
                Err(err!(Argument, "expected `k_start`, from which k is annealed, with `k_steps`").about("k_steps"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a k that no row of codes has.
pub fn few(k: usize, shape: DictionaryShape) -> Result<()> {
    if k == 0 || k > shape.d_sae {
        let features = shape.d_sae;
        return Err(err!(Argument, "expected `k` from 1 to {features}, the number of features, found {k}").about("k"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: KSchedule, step: u64) -> usize {
        schedule.at(FitProgress { step, steps: 100, memory: &[] })
    }

    #[test]
    fn k_falls_linearly_and_stays() {
        let schedule = KSchedule { k: 10, start: Some(50), steps: Some(20) };
        assert_eq!([0, 1, 10, 19, 20, 99].map(|step| at(schedule, step)), [50, 48, 30, 12, 10, 10]);
        // Without a number of steps, in a tenth of them; without a start, at once.
        assert_eq!([0, 5, 10].map(|step| at(KSchedule { steps: None, ..schedule }, step)), [50, 30, 10]);
        assert_eq!(at(KSchedule { start: None, steps: None, ..schedule }, 0), 10);
        assert_eq!(at(KSchedule { steps: Some(0), ..schedule }, 1), 10);
    }

    #[test]
    fn what_cannot_be_annealed_is_refused() {
        let shape = DictionaryShape { d_in: 4, d_sae: 60, d_out: 4 };
        let schedule = |start, steps| KSchedule { k: 10, start, steps }.check(shape);
        assert!(
            schedule(Some(60), None).is_ok() && schedule(Some(10), Some(3)).is_ok() && schedule(None, None).is_ok()
        );
        assert_eq!(schedule(Some(9), None).unwrap_err().about.as_deref(), Some("k_start"));
        assert!(schedule(Some(61), None).is_err() && schedule(Some(usize::MAX), None).is_err());
        assert_eq!(schedule(None, Some(3)).unwrap_err().about.as_deref(), Some("k_steps"));
    }
}
