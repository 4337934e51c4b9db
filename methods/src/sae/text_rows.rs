//! Whole rows of a text, for dictionaries whose codes depend on earlier tokens: the order in which a fit reads them,
//! and their positions that count.

use rand::seq::SliceRandom;

use super::metrics::{EvaluationText, JudgedRowsOptions, judged_rows};
use crate::base::random::stream;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::err;
use crate::model::Model;
use crate::tensor::{Device, Tensor};

/// The rows of a text that a fit reads in random order, some at each step.
pub struct TextRows {
    rows: Vec<EvaluationText>,
    /// Rows of a step.
    batch: usize,
    seed: u64,
    /// The stream of the random orders.
    stream: &'static str,
}

impl TextRows {
    /// Reads the first rows of a text, and leaves out those without a position that counts.
    pub fn read(
        model: &Model,
        text: &Text,
        context: usize,
        rows: usize,
        order: StepOrder,
        task: &Task,
    ) -> Result<Self> {
        let judged = JudgedRowsOptions { rows, without_bos: true };
        let rows: Vec<EvaluationText> = judged_rows(model, text, Some(context), &judged, task)?
            .into_iter()
            .filter(|row| (0..row.ids.len()).any(|at| row.counts(at)))
            .collect();
        if rows.is_empty() {
            return Err(err!(Argument, "expected a text with tokens, found none").about("text"));
        }
        let StepOrder { batch, seed, stream } = order;
        Ok(Self { rows, batch, seed, stream })
    }

    /// Returns the first rows, as many at a time as a step has.
    pub fn first(&self, count: usize) -> impl Iterator<Item = Vec<&EvaluationText>> {
        self.rows[..count.min(self.rows.len())].chunks(self.batch).map(|part| part.iter().collect())
    }

    /// Chooses the rows of a step. Every epoch has an order of its own, and a step may be in two of them.
    pub fn of_step(&self, step: u64) -> Vec<&EvaluationText> {
        let count = self.rows.len();
        let mut orders: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut chosen = Vec::new();
        for number in 0..self.batch {
            let at = step as usize * self.batch + number;
            let epoch = at / count;
            if orders.last().is_none_or(|(last, _)| *last != epoch) {
                let mut order: Vec<usize> = (0..count).collect();
                order.shuffle(&mut stream(self.seed, self.stream, epoch as u64));
                orders.push((epoch, order));
            }
            chosen.extend(orders.last().map(|(_, order)| &self.rows[order[at % count]]));
        }
        chosen
    }
}

/// The random order in which a fit reads the rows of a text.
pub struct StepOrder {
    /// Rows of a step.
    pub batch: usize,
    pub seed: u64,
    /// The stream of the random orders.
    pub stream: &'static str,
}

/// Returns 1 for the positions of rows that count and 0 for others: `[rows, wide, 1]`.
pub fn weights(rows: &[&EvaluationText], wide: usize, device: &Device) -> Result<Tensor> {
    let weights: Vec<f32> =
        rows.iter().flat_map(|row| (0..wide).map(|at| f32::from(u8::from(row.counts(at))))).collect();
    Ok(Tensor::from_vec(weights, (rows.len(), wide, 1), device)?)
}

/// The positions of a batch of rows that count.
pub struct CountedPositions {
    /// The number of each among all positions of the batch, padding included.
    numbers: Tensor,
    /// The position of each in its row.
    pub positions: Vec<u32>,
}

impl CountedPositions {
    pub fn of(rows: &[EvaluationText], wide: usize) -> Result<Self> {
        let each = rows.iter().enumerate();
        let counted: Vec<(usize, usize)> = each
            .flat_map(|(row, text)| (0..text.ids.len()).filter(|at| text.counts(*at)).map(move |at| (row, at)))
            .collect();
        let numbers: Vec<u32> = counted.iter().map(|(row, at)| (row * wide + at) as u32).collect();
        let numbers = Tensor::from_vec(numbers, counted.len(), &Device::Cpu)?;
        Ok(Self { numbers, positions: counted.iter().map(|(_, at)| *at as u32).collect() })
    }

    /// Returns the positions that count of activations `[batch, pos, width]`, one row each: `[counted, width]`.
    pub fn rows_of(&self, t: &Tensor) -> Result<Tensor> {
        let size = t.dims().last().copied().unwrap_or_default();
        Ok(t.detach().to_device(&Device::Cpu)?.reshape(((), size))?.index_select(&self.numbers, 0)?)
    }
}
