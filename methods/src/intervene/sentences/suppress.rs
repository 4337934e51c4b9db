//! Attention that is suppressed from one sentence to another: what the model predicts in later sentences without it.

use super::cut::Sentence;
use crate::base::results::MISSING;
use crate::common::*;
use crate::model::hooks::{At, BoundHook, Edit};

/// Number of sentences that are suppressed, pass by pass, between two readings of the whole text: the stream of each pass
/// is held until its predictions are compared.
const AT_ONCE: usize = 8;

/// The divergence that is added before the logarithm.
const SMALLEST: f64 = 1e-9;

/// Computes, for each sentence (row) and each earlier one (column), the mean over the tokens of the row of
/// ln(KL(p || q) + 1e-9), where p is what the model predicts after the token, and q what it predicts when no token of the
/// text attends to the column's sentence, in any layer or head. Missing where the column is not earlier.
pub fn suppression(
    model: &Model,
    ids: &[u32],
    sentences: &[Sentence],
    temperature: f64,
    task: &Task,
) -> Result<Vec<f64>> {
    let count = sentences.len();
    let batch = Batch::new(vec![ids.to_vec()])?;
    let of_column = columns(sentences);
    let suppressed: Vec<usize> = (0..count.saturating_sub(1)).collect();
    let mut sums = vec![0.0; count * count];
    let bar = task.begin("suppressing sentences", Some(suppressed.len() as u64));
    for chunk in suppressed.chunks(AT_ONCE) {
        let points: Vec<(usize, usize)> =
            of_column.iter().filter(|(_, row)| *row > chunk[0]).map(|(column, _)| (0, *column)).collect();
        let rows: Vec<usize> = of_column.iter().map(|(_, row)| *row).filter(|row| *row > chunk[0]).collect();
        let mut passes = vec![Vec::new()];
        for number in chunk {
            passes.push(vec![without(model, &sentences[*number].tokens)?]);
        }
        let ends = model.decoder.ends(&batch, passes, &points, task)?;
        let found = model.decoder.divergences_of_ends(&ends, temperature, task)?;
        for (number, found) in chunk.iter().zip(found) {
            for (row, divergence) in rows.iter().zip(found).filter(|(row, _)| *row > number) {
                sums[row * count + number] += (divergence.max(0.0) + SMALLEST).ln();
            }
        }
        bar.advance(chunk.len() as u64);
    }
    let mean = |(at, sum): (usize, &f64)| {
        let row = at / count;
        if at % count < row { sum / sentences[row].tokens.len() as f64 } else { MISSING }
    };
    Ok(sums.iter().enumerate().map(mean).collect())
}

/// Lists the columns of the text that sentences have, each with the number of its sentence.
fn columns(sentences: &[Sentence]) -> Vec<(usize, usize)> {
    let of = |(number, sentence): (usize, &Sentence)| {
        sentence.tokens.clone().map(|column| (column, number)).collect::<Vec<_>>()
    };
    sentences.iter().enumerate().flat_map(of).collect()
}

/// Takes the row's mean off each row of a lower triangle, so that what all earlier sentences have in common is gone.
pub fn centred(values: &[f64], count: usize) -> Vec<f64> {
    let row = |row: usize| {
        let cells = &values[row * count..(row + 1) * count];
        let mean = cells[..row].iter().sum::<f64>() / row as f64;
        cells.iter().enumerate().map(move |(column, value)| if column < row { value - mean } else { MISSING })
    };
    (0..count).flat_map(row).collect()
}

/// Makes the hook by which no query attends to some keys.
fn without(model: &Model, keys: &Range<usize>) -> Result<BoundHook<'static>> {
    let hidden = HiddenKeys { keys: keys.clone() };
    BoundHook::new(model.decoder.config(), "scores.*", None, None, Box::new(hidden))
}

/// Keys whose scores are so low that a query with others does not attend to them.
struct HiddenKeys {
    keys: Range<usize>,
}

impl Edit for HiddenKeys {
    fn edit(&mut self, _at: &At, _place: Place, _positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let keys = x.dim(3)?;
        // Finite, so that a query that sees no other key attends to these equally.
        let lowest = if x.dtype() == DType::F16 { -65_504.0 } else { -1e30 };
        let hidden = (x.narrow(3, self.keys.start, self.keys.len())?.zeros_like()? + lowest)?;
        let before = x.narrow(3, 0, self.keys.start)?;
        let behind = x.narrow(3, self.keys.end, keys - self.keys.end)?;
        let parts = [before, hidden, behind].into_iter().filter(|part| part.elem_count() > 0);
        Ok(Some(Tensor::cat(&parts.collect::<Vec<_>>(), 3)?))
    }
}
