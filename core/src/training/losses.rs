//! Losses of the steps of a fit by their names: for trackers, in tensors of files, and as a table.

use super::history::{intervals, mean, of_step};
use crate::base::{Cell, Result, Table};
use crate::err;
use crate::tensor::{Device, Tensor, floats};

/// Maximum number of rows of a table.
const ROWS: usize = 100;

/// Losses of a step; those that were not computed are NaN.
pub trait LossRecord<const N: usize>: Sized {
    /// Names of the losses.
    const NAMES: [&'static str; N];

    /// Returns the losses in the order of their names.
    fn numbers(&self) -> [f64; N];

    /// Makes a record of losses in that order.
    fn from_numbers(numbers: [f64; N]) -> Self;
}

/// Returns the losses of a step that were computed by their names; nothing of a step that was not made.
pub fn losses_of_step<const N: usize, S: LossRecord<N>>(steps: &[S], step: u64) -> Vec<(&'static str, f64)> {
    let Some(losses) = of_step(steps, step) else { return Vec::new() };
    S::NAMES.into_iter().zip(losses.numbers()).filter(|(_, loss)| !loss.is_nan()).collect()
}

/// Writes the losses of steps as a tensor `[steps, losses]`.
pub fn losses_in_tensor<const N: usize, S: LossRecord<N>>(steps: &[S]) -> Result<Tensor> {
    let numbers: Vec<f64> = steps.iter().flat_map(S::numbers).collect();
    Ok(Tensor::from_vec(numbers, (steps.len(), N), &Device::Cpu)?)
}

/// Reads the losses of steps from a tensor `[steps, losses]`.
pub fn losses_of_tensor<const N: usize, S: LossRecord<N>>(t: &Tensor) -> Result<Vec<S>> {
    if t.rank() != 2 || t.dims()[1] != N {
        return Err(err!(Format, "expected losses of the shape [steps, {N}], found {:?}", t.dims()));
    }
    let numbers = floats(t)?;
    let (steps, _) = numbers.as_chunks::<N>();
    Ok(steps.iter().map(|step| S::from_numbers(*step)).collect())
}

/// Builds a table of losses, in at most a hundred rows for equal intervals: the step at the end of each, and the means
/// over it. A mean of losses that were not computed is missing.
pub fn losses_table<const N: usize>(names: [&str; N], steps: &[[f64; N]]) -> Table {
    let mut made = 0;
    let row = |part: &[[f64; N]]| -> Vec<Cell> {
        made += part.len();
        let means = (0..N).map(|at| Cell::unless_nan(mean(part, |step| step[at])));
        std::iter::once(made.into()).chain(means).collect()
    };
    Table::new("losses of the fit", std::iter::once("step").chain(names), intervals(steps, ROWS).map(row))
}
