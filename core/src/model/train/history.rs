//! The numbers of a step of a language model's training.

use crate::base::Cell;
use crate::training::{History, StepNumbers, mean};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelStep {
    /// The mean loss, in nats.
    pub loss: f64,
    /// The gradient norm, before clipping.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
}

pub type ModelHistory = History<ModelStep>;

impl StepNumbers for ModelStep {
    const TITLE: &'static str = "training";
    const UNIT: &'static str = "tokens";
    const COLUMNS: &'static [&'static str] = &["loss", "gradient norm", "lr"];

    /// Averages steps; the learning rate is that of the last.
    fn merged(steps: &[Self]) -> Option<Self> {
        let last = steps.last()?;
        Some(Self { loss: mean(steps, |step| step.loss), norm: mean(steps, |step| step.norm), rate: last.rate })
    }

    fn cells(&self) -> Vec<Cell> {
        [self.loss, self.norm, self.rate].map(Cell::Float).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_averaged_and_the_last_evaluation_stands() {
        let step = |loss, norm, rate| ModelStep { loss, norm, rate };
        let history = ModelHistory {
            steps: vec![step(4.0, 1.0, 0.1), step(2.0, 3.0, 0.2), step(1.0, 5.0, 0.3)],
            held_out: vec![(1, 9.0), (2, 8.0)],
            read_per_step: 10,
        };
        let table = history.table(2);
        assert_eq!(table.columns, ["step", "tokens", "loss", "held-out loss", "gradient norm", "lr"]);
        let first: Vec<Cell> = vec![2usize.into(), 20usize.into(), 3.0.into(), 8.0.into(), 2.0.into(), 0.2.into()];
        assert_eq!(table.rows[0], first);
        let last: Vec<Cell> = vec![3usize.into(), 30usize.into(), 1.0.into(), Cell::Missing, 5.0.into(), 0.3.into()];
        assert_eq!(table.rows[1], last);
        assert_eq!(history.recent(2).map(|step| step.loss), Some(1.5));
        let second = [("loss", 2.0), ("gradient norm", 3.0), ("lr", 0.2), ("held-out loss", 8.0)];
        assert_eq!((history.numbers(2), history.numbers(3).len()), (second.to_vec(), 3));
        assert!([0, 4].iter().all(|step| history.numbers(*step).is_empty()));
        assert_eq!(ModelHistory::default().recent(2), None);
        assert!(ModelHistory::default().table(5).rows.is_empty());
    }
}
