//! How a fit went.

use super::state::Found;
use crate::base::{Cell, Table};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    pub steps: Vec<Found>,
    pub rows_per_step: u64,
}

impl History {
    /// The means of the last steps.
    pub fn recent(&self, steps: usize) -> Option<Found> {
        mean(&self.steps[self.steps.len().saturating_sub(steps)..])
    }

    /// Rows for equal stretches of the fit, at most `rows`: means over the stretch that ends at the step, and the dead
    /// features at its end.
    pub fn table(&self, rows: usize) -> Table {
        let stretch = self.steps.len().div_ceil(rows.max(1)).max(1);
        let mut end = 0;
        let mut line = |part: &[Found]| -> Option<Vec<Cell>> {
            end += part.len();
            let found = mean(part)?;
            let read = (end as u64 * self.rows_per_step).cast_signed();
            Some(vec![
                end.into(),
                read.into(),
                Cell::Float(found.loss),
                Cell::Float(found.error),
                Cell::Float(found.fve),
                Cell::Float(found.l0),
                found.dead.into(),
            ])
        };
        Table {
            title: "fit".into(),
            columns: ["step", "rows", "loss", "error", "fve", "l0", "dead"].map(String::from).to_vec(),
            rows: self.steps.chunks(stretch).filter_map(&mut line).collect(),
        }
    }
}

fn mean(part: &[Found]) -> Option<Found> {
    let last = part.last()?;
    let of = |read: fn(&Found) -> f64| part.iter().map(read).sum::<f64>() / part.len() as f64;
    Some(Found { loss: of(|f| f.loss), error: of(|f| f.error), l0: of(|f| f.l0), fve: of(|f| f.fve), dead: last.dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_averaged_and_the_dead_are_those_at_the_end() {
        let found = |loss: f64, dead| Found { loss, error: loss / 2.0, l0: 4.0, fve: 0.5, dead };
        let history = History { steps: vec![found(4.0, 1), found(2.0, 2), found(1.0, 3)], rows_per_step: 10 };
        let table = history.table(2);
        let first: Vec<Cell> =
            vec![2usize.into(), 20i64.into(), 3.0.into(), 1.5.into(), 0.5.into(), 4.0.into(), 2usize.into()];
        assert_eq!(table.rows[0], first);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(history.recent(1).map(|f| f.dead), Some(3));
        assert_eq!(History::default().recent(1), None);
    }
}
