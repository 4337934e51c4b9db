//! The history of a training: the numbers of every step, and the held-out loss.

use std::slice::Chunks;

use crate::base::{Cell, Table};

/// The name of the column of evaluations.
const HELD_OUT: &str = "held-out loss";

/// Number of the intervals over which the record of a fit has means.
pub const INTERVALS: usize = 20;

/// The numbers of one step.
pub trait StepNumbers: Sized {
    /// The title of the table of steps.
    const TITLE: &'static str;
    /// Unit of what a step reads: "tokens".
    const UNIT: &'static str;
    /// The names of the numbers, the loss first.
    const COLUMNS: &'static [&'static str];

    /// Merges several steps, at least one, into one.
    fn merged(steps: &[Self]) -> Option<Self>;

    /// Returns the numbers in the order of the columns.
    fn cells(&self) -> Vec<Cell>;
}

/// Splits steps into intervals of one length, at most `count`; the last may be shorter.
pub fn intervals<S>(steps: &[S], count: usize) -> Chunks<'_, S> {
    steps.chunks(steps.len().div_ceil(count.max(1)).max(1))
}

/// Computes the means of a number over at most `count` intervals of one length.
pub fn means<S>(steps: &[S], count: usize, number: impl Fn(&S) -> f64) -> Vec<f64> {
    intervals(steps, count).map(|part| mean(part, &number)).collect()
}

/// Computes the mean of a number of several steps.
pub fn mean<S>(steps: &[S], number: impl Fn(&S) -> f64) -> f64 {
    steps.iter().map(number).sum::<f64>() / steps.len() as f64
}

/// Returns what a list has of a step, the first of which is 1.
pub fn of_step<S>(steps: &[S], step: u64) -> Option<&S> {
    steps.get(usize::try_from(step.checked_sub(1)?).ok()?)
}

#[derive(Debug, Clone, PartialEq)]
pub struct History<S> {
    pub steps: Vec<S>,
    /// Tokens or rows of a step.
    pub read_per_step: u64,
    /// The steps of the evaluations, with their mean held-out loss.
    pub held_out: Vec<(u64, f64)>,
}

impl<S> Default for History<S> {
    fn default() -> Self {
        Self { steps: Vec::new(), read_per_step: 0, held_out: Vec::new() }
    }
}

impl<S: StepNumbers> History<S> {
    /// Merges the last steps into one, which smooths the noise of single batches.
    pub fn recent(&self, steps: usize) -> Option<S> {
        S::merged(&self.steps[self.steps.len().saturating_sub(steps)..])
    }

    /// Returns the numbers of a step under the names of their columns, the loss first, and the held-out loss behind
    /// them where there was an evaluation; nothing of a step that was not made.
    pub fn numbers(&self, step: u64) -> Vec<(&'static str, f64)> {
        let Some(numbers) = of_step(&self.steps, step) else { return Vec::new() };
        let number = |cell: Cell| match cell {
            Cell::Float(number) => number,
            Cell::Int(number) => number as f64,
            _ => f64::NAN,
        };
        let named = S::COLUMNS.iter().copied().zip(numbers.cells().into_iter().map(number));
        let evaluation = self.held_out.binary_search_by_key(&step, |(step, _)| *step).ok();
        let held_out = evaluation.and_then(|place| self.held_out.get(place)).map(|(_, loss)| (HELD_OUT, *loss));
        named.chain(held_out).collect()
    }

    /// Builds a table of rows for equal intervals of the training, at most `rows`: the numbers of the interval that
    /// ends at the step, and the last evaluation within it.
    pub fn table(&self, rows: usize) -> Table {
        let is_evaluated = !self.held_out.is_empty();
        let mut end = 0;
        let row = |part: &[S]| -> Option<Vec<Cell>> {
            let start = end;
            end += part.len();
            let within = |(step, _): &&(u64, f64)| *step > start as u64 && *step <= end as u64;
            let held_out = self.held_out.iter().rev().find(within);
            let held_out = is_evaluated.then(|| Cell::from(held_out.map(|(_, loss)| *loss)));
            let mut numbers = S::merged(part)?.cells().into_iter();
            let read = (end as u64 * self.read_per_step).cast_signed();
            let mut cells: Vec<Cell> = vec![end.into(), read.into()];
            cells.extend(numbers.next());
            cells.extend(held_out);
            cells.extend(numbers);
            Some(cells)
        };
        let (loss, others) = S::COLUMNS.split_at(1);
        let held_out = is_evaluated.then_some(&HELD_OUT);
        let columns = ["step", S::UNIT].iter().chain(loss).chain(held_out).chain(others);
        Table::new(S::TITLE, columns.map(|name| name.to_string()), intervals(&self.steps, rows).filter_map(row))
    }
}
