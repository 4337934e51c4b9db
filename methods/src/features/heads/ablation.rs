//! Mean ablation of each head: how much the loss of a text rises when the head's output is its mean over the text.

use super::text::HeadReading;
use crate::common::*;
use crate::model::hooks::{Action, BoundHook, PatchSource};

/// Number of rows in a batch.
const AT_ONCE: usize = 16;

/// The rise of the mean loss without a head, and its 95 % interval over rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRise {
    pub mean: f64,
    pub interval: Option<[f64; 2]>,
}

/// The sum of the losses of a row, and their number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RowLoss {
    sum: f64,
    count: usize,
}

/// Measures how much the loss of rows rises when each head of some layers gives its mean: layer by layer.
pub fn rises(
    decoder: &Decoder,
    layers: &[usize],
    rows: &[Vec<u32>],
    readings: &[HeadReading],
    seed: u64,
    task: &Task,
) -> Result<Vec<LossRise>> {
    let heads = decoder.config().heads;
    let bar = task.begin("ablating heads", Some((readings.len() * rows.len()) as u64));
    let clean = losses(decoder, rows, None, task)?;
    let mut found = Vec::new();
    for (number, reading) in readings.iter().enumerate() {
        let head = Ablated { layer: layers[number / heads], head: number % heads, mean: &reading.mean };
        let without = losses(decoder, rows, Some(head), task)?;
        found.push(rise(&clean, &without, seed));
        bar.advance(rows.len() as u64);
    }
    Ok(found)
}

/// A head, and the mean that it gives instead.
#[derive(Clone, Copy)]
struct Ablated<'a> {
    layer: usize,
    head: usize,
    mean: &'a [f64],
}

impl Ablated<'_> {
    fn hook(&self, decoder: &Decoder) -> Result<BoundHook<'static>> {
        let mean =
            Tensor::from_vec(self.mean.to_vec(), self.mean.len(), decoder.device())?.to_dtype(decoder.dtype())?;
        let action = Action::Patch(PatchSource::Tensor(mean));
        let site = format!("z.{}.{}", self.layer, self.head);
        BoundHook::new(decoder.config(), &site, None, None, Box::new(action.begin()))
    }
}

fn losses(decoder: &Decoder, rows: &[Vec<u32>], without: Option<Ablated>, task: &Task) -> Result<Vec<RowLoss>> {
    let mut found = Vec::new();
    for rows in rows.chunks(AT_ONCE) {
        task.check()?;
        let hooks = without.iter().map(|head| head.hook(decoder)).collect::<Result<_>>()?;
        for losses in decoder.losses(&Batch::new(rows.to_vec())?, hooks, task)? {
            let sum = losses.detach().to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
            found.push(RowLoss { sum, count: losses.elem_count() });
        }
    }
    Ok(found)
}

fn rise(clean: &[RowLoss], without: &[RowLoss], seed: u64) -> LossRise {
    let mean = |rows: &[usize]| {
        let sum: f64 = rows.iter().map(|row| without[*row].sum - clean[*row].sum).sum();
        sum / rows.iter().map(|row| clean[*row].count).sum::<usize>() as f64
    };
    let all: Vec<usize> = (0..clean.len()).collect();
    LossRise { mean: mean(&all), interval: bootstrap(clean.len(), seed, mean) }
}
