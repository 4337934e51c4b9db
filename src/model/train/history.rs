//! The training history: the loss of every step, and the held-out loss.

use crate::base::{Cell, Table};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The mean loss of each step, in nats.
    pub losses: Vec<f64>,
    /// The gradient norm of each step, before clipping.
    pub norms: Vec<f64>,
    pub rates: Vec<f64>,
    /// The steps of the evaluations, with their mean held-out loss.
    pub judged: Vec<(u64, f64)>,
    pub tokens_per_step: u64,
}

impl History {
    pub fn steps(&self) -> u64 {
        self.losses.len() as u64
    }

    /// The mean of the last losses, which smooths the noise of single batches.
    pub fn recent(&self, steps: usize) -> Option<f64> {
        let last = &self.losses[self.losses.len().saturating_sub(steps)..];
        (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
    }

    /// Rows for equal intervals of the training, at most `rows`: the means of the interval that ends at the step, and
    /// the last evaluation within it.
    pub fn table(&self, rows: usize) -> Table {
        let steps = self.losses.len();
        let stretch = steps.div_ceil(rows.max(1)).max(1);
        let judged = !self.judged.is_empty();
        let row = |start: usize| -> Vec<Cell> {
            let end = (start + stretch).min(steps);
            let mean = |all: &[f64]| Cell::Float(all[start..end].iter().sum::<f64>() / (end - start) as f64);
            let mut cells: Vec<Cell> =
                vec![end.into(), (end as u64 * self.tokens_per_step).cast_signed().into(), mean(&self.losses)];
            let within = |(step, _): &&(u64, f64)| *step > start as u64 && *step <= end as u64;
            let last = self.judged.iter().rev().find(within);
            cells.extend(judged.then(|| last.map_or(Cell::Missing, |(_, loss)| Cell::Float(*loss))));
            cells.extend([mean(&self.norms), Cell::Float(self.rates[end - 1])]);
            cells
        };
        let held = judged.then_some("held-out loss");
        let columns = ["step", "tokens", "loss"].into_iter().chain(held).chain(["gradient norm", "lr"]);
        Table {
            title: "training".into(),
            columns: columns.map(String::from).collect(),
            rows: (0..steps).step_by(stretch).map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_averaged_and_the_last_judgement_stands() {
        let history = History {
            losses: vec![4.0, 2.0, 1.0],
            norms: vec![1.0, 3.0, 5.0],
            rates: vec![0.1, 0.2, 0.3],
            judged: vec![(1, 9.0), (2, 8.0)],
            tokens_per_step: 10,
        };
        let table = history.table(2);
        assert_eq!(table.columns, ["step", "tokens", "loss", "held-out loss", "gradient norm", "lr"]);
        let first: Vec<Cell> = vec![2usize.into(), 20usize.into(), 3.0.into(), 8.0.into(), 2.0.into(), 0.2.into()];
        assert_eq!(table.rows[0], first);
        let last: Vec<Cell> = vec![3usize.into(), 30usize.into(), 1.0.into(), Cell::Missing, 5.0.into(), 0.3.into()];
        assert_eq!(table.rows[1], last);
        assert_eq!(history.recent(2), Some(1.5));
        assert_eq!(History::default().recent(2), None);
        assert!(History::default().table(5).rows.is_empty());
    }
}
