//! Receiver heads: heads that many later sentences let attend to the same few.

use std::cell::RefCell;

use super::cut::Sentence;
use crate::base::results::{MISSING, is_missing};
use crate::common::*;
use crate::model::hooks::{At, BoundHook, Edit};

/// The attention of one head to the sentences of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadScores {
    pub layer: usize,
    pub head: usize,
    /// The vertical score of each sentence: the mean attention to it of the sentences far enough behind it. Missing for
    /// those that have none behind them.
    pub vertical: Vec<f64>,
    /// The excess kurtosis of the vertical scores; missing where they do not differ, and of a single one.
    pub kurtosis: f64,
}

impl HeadScores {
    /// Returns the name of the head, such as `3.0`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.layer, self.head)
    }
}

/// Computes the vertical scores of all heads: for each sentence the mean over the sentences that are at least `apart`
/// places behind it of the mean attention between their tokens.
pub fn head_scores(
    model: &Model,
    ids: &[u32],
    sentences: &[Sentence],
    apart: usize,
    task: &Task,
) -> Result<Vec<HeadScores>> {
    let found = RefCell::new(Vec::new());
    let averages = averages(sentences, ids.len())?.to_device(model.decoder.device())?;
    let means = SentenceMeans { averages, apart, found: &found };
    let hook = BoundHook::new(model.decoder.config(), "pattern.*", None, None, Box::new(means))?;
    let batch = Batch::new(vec![ids.to_vec()])?;
    let bar = task.begin("reading attention", Some(1));
    model.decoder.logits_at(&batch, &[-1], vec![hook], task)?;
    bar.advance(1);
    Ok(found.into_inner())
}

/// Makes the matrix `[sentences, columns]` that averages over the tokens of each sentence.
fn averages(sentences: &[Sentence], columns: usize) -> Result<Tensor> {
    let mut rows = vec![0.0_f32; sentences.len() * columns];
    for (number, sentence) in sentences.iter().enumerate() {
        let share = 1.0 / sentence.tokens.len() as f32;
        rows[number * columns..][sentence.tokens.clone()].fill(share);
    }
    Ok(Tensor::from_vec(rows, (sentences.len(), columns), &crate::tensor::Device::Cpu)?)
}

/// A reader of patterns, which leaves them as they are and keeps their means between sentences.
struct SentenceMeans<'a> {
    averages: Tensor,
    apart: usize,
    found: &'a RefCell<Vec<HeadScores>>,
}

impl Edit for SentenceMeans<'_> {
    fn edit(&mut self, _at: &At, place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let count = self.averages.dim(0)?;
        let pattern = x.get(0)?.to_dtype(DType::F32)?;
        for head in 0..pattern.dim(0)? {
            let between = self.averages.matmul(&pattern.get(head)?.contiguous()?)?;
            let between = between.matmul(&self.averages.t()?.contiguous()?)?;
            let vertical = vertical(&floats(&between.flatten_all()?)?, count, self.apart);
            let kurtosis = kurtosis(&vertical);
            self.found.borrow_mut().push(HeadScores { layer: place.site.layer, head, vertical, kurtosis });
        }
        Ok(None)
    }
}

/// Computes the vertical scores of a matrix of mean attention, a row for each sentence that attends.
fn vertical(between: &[f64], count: usize, apart: usize) -> Vec<f64> {
    let score = |column: usize| {
        let rows: Vec<f64> = (column + apart..count).map(|row| between[row * count + column]).collect();
        if rows.is_empty() { MISSING } else { rows.iter().sum::<f64>() / rows.len() as f64 }
    };
    (0..count).map(score).collect()
}

/// Computes the excess kurtosis of those numbers that are not missing, as of a whole population.
pub fn kurtosis(numbers: &[f64]) -> f64 {
    let numbers: Vec<f64> = numbers.iter().copied().filter(|number| !is_missing(*number)).collect();
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let moment = |power: i32| numbers.iter().map(|number| (number - mean).powi(power)).sum::<f64>() / count;
    let variance = moment(2);
    // Sums of equal numbers differ from them by rounding.
    if numbers.len() < 2 || variance.sqrt() <= 1e-12 * mean.abs() {
        MISSING
    } else {
        moment(4) / variance.powi(2) - 3.0
    }
}

/// Returns the places of the heads of the largest kurtosis, the largest first; heads without one are left out.
pub fn largest(kurtoses: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..kurtoses.len()).filter(|place| !is_missing(kurtoses[*place])).collect();
    order::sort_descending(&mut places, |place| kurtoses[*place]);
    places.truncate(count);
    places
}
