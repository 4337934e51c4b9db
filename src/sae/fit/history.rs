//! The training history of a fit.

use super::state::Found;
use crate::base::{Cell, Result, Table};
use crate::err;
use crate::tensor::{DType, Device, Tensor};

/// Numbers recorded at each step.
const NUMBERS: usize = 5;

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

    /// All numbers, a row for each step, as files have them.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let numbers: Vec<f64> = self.steps.iter().flat_map(|f| [f.loss, f.error, f.l0, f.fve, f.dead as f64]).collect();
        Ok(Tensor::from_vec(numbers, (self.steps.len(), NUMBERS), &Device::Cpu)?)
    }

    pub fn from_tensor(numbers: &Tensor, rows_per_step: u64) -> Result<Self> {
        if numbers.dims().last() != Some(&NUMBERS) || numbers.rank() != 2 {
            return Err(err!(Format, "expected {NUMBERS} numbers for each step, found {:?}", numbers.dims()));
        }
        let rows = numbers.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        Ok(Self { steps: rows.iter().map(|row| found(row)).collect(), rows_per_step })
    }

    /// Rows for equal intervals of the fit, at most `rows`: means over the interval that ends at the step, and the dead
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

fn found(row: &[f64]) -> Found {
    let at = |index: usize| row.get(index).copied().unwrap_or(f64::NAN);
    Found { loss: at(0), error: at(1), l0: at(2), fve: at(3), dead: at(4) as usize }
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
        assert_eq!(History::from_tensor(&history.to_tensor().unwrap(), 10).unwrap(), history);
        assert!(History::from_tensor(&Tensor::new(&[[1.0, 2.0]], &Device::Cpu).unwrap(), 10).is_err());
    }
}
