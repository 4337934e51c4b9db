//! Rows of a text for fits and measures that read them whole: the order in which a fit reads them, batches, and the
//! positions that count.

pub mod dictionary;
pub mod fit;

use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use super::metrics::{EvaluationText, JudgedRowsOptions, judged_rows};
use crate::base::files::hex;
use crate::base::random::stream;
use crate::common::*;
use crate::data::{Text, harvest};
use crate::tensor::float;

/// Tokens that are read at a time where a dictionary is measured.
const TOKENS: usize = 1 << 11;

/// The default length of rows that are read whole, if the model's context is not shorter.
pub const CONTEXT: usize = 64;

/// Number of the rows by which a fit scales activations.
const ROWS_OF_SCALES: usize = 64;

/// Reads the rows of a text on which a dictionary is judged; refuses a text without tokens.
pub fn rows_of(
    model: &Model,
    text: &Text,
    context: Option<usize>,
    options: &JudgedRowsOptions,
    task: &Task,
) -> Result<Vec<EvaluationText>> {
    let rows = judged_rows(model, text, context, options, task)?;
    if rows.is_empty() {
        return Err(err!(Argument, "expected a text with tokens, found none").about("text"));
    }
    Ok(rows)
}

/// Reads the rows of a text that have the full length; refuses a text without one.
pub fn whole_rows(
    model: &Model,
    text: &Text,
    rows: usize,
    context: Option<usize>,
    task: &Task,
) -> Result<Vec<Vec<u32>>> {
    let context = harvest::context_or(model.decoder.config(), context, CONTEXT)?;
    let options = JudgedRowsOptions { rows, without_bos: false };
    let all = judged_rows(model, text, Some(context), &options, task)?;
    let rows: Vec<Vec<u32>> = all.into_iter().map(|row| row.ids).filter(|ids| ids.len() == context).collect();
    if rows.is_empty() {
        return Err(err!(Argument, "expected a text with a row of {context} tokens, found none").about("text"));
    }
    Ok(rows)
}

/// Gives rows to `take`, some at a time: the number of the first, the rows, and their batch.
pub fn in_batches(
    rows: &[EvaluationText],
    task: &Task,
    mut take: impl FnMut(usize, &[EvaluationText], Batch) -> Result<()>,
) -> Result<()> {
    let bar = task.begin("measuring", Some(rows.len() as u64));
    let long = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1);
    let at_once = (TOKENS / long.max(1)).max(1);
    for (number, part) in rows.chunks(at_once).enumerate() {
        take(number * at_once, part, Batch::new(part.iter().map(|row| row.ids.clone()).collect())?)?;
        bar.advance(part.len() as u64);
    }
    Ok(())
}

/// The random order in which a fit reads the rows of a text.
#[derive(Debug, Clone, Copy)]
pub struct StepOrder {
    /// Rows of a step.
    pub batch: usize,
    pub seed: u64,
    /// The stream of the random orders.
    pub stream: &'static str,
}

impl StepOrder {
    /// Chooses the rows of a step among `count`. Every epoch has an order of its own, and a step may be in two of them.
    pub fn places(&self, count: usize, step: u64) -> Vec<usize> {
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
            chosen.extend(orders.last().map(|(_, order)| order[at % count]));
        }
        chosen
    }
}

/// The rows of a text that a fit reads in random order, some at each step.
pub struct TextRows {
    rows: Vec<EvaluationText>,
    order: StepOrder,
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
        Ok(Self { rows, order })
    }

    /// Returns the first rows, by which activations are scaled, as many at a time as a step has.
    pub fn first(&self) -> impl Iterator<Item = Vec<&EvaluationText>> {
        self.rows[..ROWS_OF_SCALES.min(self.rows.len())].chunks(self.order.batch).map(|part| part.iter().collect())
    }

    /// Returns the rows of a step.
    pub fn of_step(&self, step: u64) -> Vec<&EvaluationText> {
        self.order.places(self.rows.len(), step).into_iter().map(|place| &self.rows[place]).collect()
    }

    /// Returns a hash of the tokens of all rows, and of the positions that count.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for row in &self.rows {
            hash.update((row.ids.len() as u64).to_le_bytes());
            for (at, id) in row.ids.iter().enumerate() {
                hash.update(id.to_le_bytes());
                hash.update([u8::from(row.counts(at))]);
            }
        }
        hex(&hash.finalize())
    }
}

/// Returns 1 for the positions of rows that count and 0 for others: `[rows, wide, 1]`.
pub fn weights(rows: &[&EvaluationText], wide: usize, device: &Device) -> Result<Tensor> {
    let weights: Vec<f32> =
        rows.iter().flat_map(|row| (0..wide).map(|at| f32::from(u8::from(row.counts(at))))).collect();
    Ok(Tensor::from_vec(weights, (rows.len(), wide, 1), device)?)
}

/// Sums of activations at the positions that count.
#[derive(Debug, Clone, Default)]
pub struct ActivationSums {
    count: f64,
    square: f64,
    sum: Vec<f64>,
}

impl ActivationSums {
    /// Adds activations `[batch, pos, width]`, with a weight for each position: 1 where it counts.
    pub fn add(&mut self, x: &Tensor, weights: &Tensor) -> Result<()> {
        self.count += floats(weights)?.iter().sum::<f64>();
        let x = x.broadcast_mul(weights)?;
        self.square += float(&x.sqr()?.sum_all()?)?;
        let along = floats(&x.sum((0, 1))?)?;
        self.sum.resize(along.len(), 0.0);
        self.sum.iter_mut().zip(along).for_each(|(sum, more)| *sum += more);
        Ok(())
    }

    /// Returns the root of the mean square.
    pub fn size(&self) -> f64 {
        self.size_of(self.square / self.count)
    }

    /// Returns the mean, and the size of the numbers about it.
    pub fn spread(&self) -> (Vec<f32>, f64) {
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / self.count).collect();
        let variance = self.square / self.count - mean.iter().map(|mean| mean * mean).sum::<f64>();
        (mean.into_iter().map(|mean| mean as f32).collect(), self.size_of(variance.max(0.0)))
    }

    /// Returns the size of numbers whose squares have this sum.
    fn size_of(&self, square: f64) -> f64 {
        (square / self.sum.len().max(1) as f64).sqrt()
    }
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
