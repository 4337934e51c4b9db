//! The numbers of a step of a fit.

use crate::common::*;
use crate::training::{History, StepNumbers, mean};

/// Numbers recorded at each step.
const NUMBERS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitStep {
    pub loss: f64,
    pub error: f64,
    /// Mean number of codes in a row.
    pub l0: f64,
    /// 1 - (sum of squares of what is left) / (that of the target about its mean), over this batch.
    pub fve: f64,
    /// Number of dead features.
    pub dead: usize,
}

pub type FitHistory = History<FitStep>;

impl StepNumbers for FitStep {
    const TITLE: &'static str = "fit";
    const UNIT: &'static str = "rows";
    const COLUMNS: &'static [&'static str] = &["loss", "error", "fve", "l0", "dead"];

    /// Returns the means of some steps, and the number of dead features at their end.
    fn merged(steps: &[Self]) -> Option<Self> {
        let dead = steps.last()?.dead;
        let mean = |number: fn(&Self) -> f64| mean(steps, number);
        Some(Self { loss: mean(|s| s.loss), error: mean(|s| s.error), l0: mean(|s| s.l0), fve: mean(|s| s.fve), dead })
    }

    fn cells(&self) -> Vec<Cell> {
        let numbers = [self.loss, self.error, self.fve, self.l0].map(Cell::Float);
        numbers.into_iter().chain([self.dead.into()]).collect()
    }
}

/// Writes all numbers into a tensor, a row for each step, as files have them.
pub fn to_tensor(history: &FitHistory) -> Result<Tensor> {
    let numbers = |s: &FitStep| [s.loss, s.error, s.l0, s.fve, s.dead as f64];
    let all: Vec<f64> = history.steps.iter().flat_map(numbers).collect();
    Ok(Tensor::from_vec(all, (history.steps.len(), NUMBERS), &Device::Cpu)?)
}

pub fn from_tensor(numbers: &Tensor, rows_per_step: u64) -> Result<FitHistory> {
    if numbers.dims().last() != Some(&NUMBERS) || numbers.rank() != 2 {
        return Err(err!(Format, "expected {NUMBERS} numbers for each step, found {:?}", numbers.dims()));
    }
    let rows = numbers.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let steps = rows.iter().map(|row| step(row)).collect();
    Ok(FitHistory { steps, read_per_step: rows_per_step, held_out: Vec::new() })
}

fn step(row: &[f64]) -> FitStep {
    let at = |index: usize| row.get(index).copied().unwrap_or(f64::NAN);
    FitStep { loss: at(0), error: at(1), l0: at(2), fve: at(3), dead: at(4) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_averaged_and_the_dead_are_those_at_the_end() {
        let step = |loss: f64, dead| FitStep { loss, error: loss / 2.0, l0: 4.0, fve: 0.5, dead };
        let steps = vec![step(4.0, 1), step(2.0, 2), step(1.0, 3)];
        let history = FitHistory { steps, read_per_step: 10, held_out: Vec::new() };
        let table = history.table(2);
        let first: Vec<Cell> =
            vec![2usize.into(), 20i64.into(), 3.0.into(), 1.5.into(), 0.5.into(), 4.0.into(), 2usize.into()];
        assert_eq!(table.rows[0], first);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(history.recent(1).map(|step| step.dead), Some(3));
        assert_eq!(FitHistory::default().recent(1), None);
        assert_eq!(from_tensor(&to_tensor(&history).unwrap(), 10).unwrap(), history);
        assert!(from_tensor(&Tensor::new(&[[1.0, 2.0]], &Device::Cpu).unwrap(), 10).is_err());
    }
}
