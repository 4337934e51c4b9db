//! The positions of a text where some tokens are due: one of them comes next.

use crate::common::*;
use crate::data::pack::gathered;
use crate::data::{Text, harvest};
use crate::features::feature::tokenizer;
use crate::intervene::chance::{chances, together_of};

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 11;

/// Maximum number of logits computed at once.
const LOGITS: usize = 1 << 24;

/// The rows of a text in which some tokens are due, each cut after the last position where they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub tokens: Vec<u32>,
    /// The rows, shortest first, so that the rows of a batch have similar lengths.
    rows: Vec<DueRow>,
    /// The number of tokens read.
    pub read: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct DueRow {
    ids: Vec<u32>,
    /// The positions whose next token is one of the tokens.
    due: Vec<usize>,
}

/// A batch of the rows.
pub struct DueBatch {
    pub batch: Batch,
    /// The positions where the tokens are due, by their number in `[rows, pos]`.
    pub positions: Vec<u32>,
    /// The row of each of `positions`.
    rows: Vec<usize>,
}

impl Due {
    /// Reads all of a text in rows of `context` tokens.
    pub fn of(model: &Model, text: &Text, tokens: &[u32], context: usize, task: &Task) -> Result<Self> {
        let context = harvest::context(model.decoder.config(), Some(context)).map_err(|e| e.about("context"))?;
        let kept = gathered(text, tokenizer(model)?, context, None, task, |row| {
            Ok((row.ids.len(), DueRow::of(row.ids, tokens)))
        })?;
        let read = kept.iter().map(|(length, _)| length).sum();
        let rows: Vec<DueRow> = kept.into_iter().filter_map(|(_, row)| row).collect();
        Self::sorted(rows, tokens, read).ok_or_else(|| {
            err!(Argument, "expected one of the tokens in {}, found none in {read} tokens", text.name())
                .hint("read more text, or look for other tokens")
        })
    }

    fn sorted(mut rows: Vec<DueRow>, tokens: &[u32], read: usize) -> Option<Self> {
        rows.sort_by_key(|row| row.ids.len());
        (!rows.is_empty()).then(|| Self { tokens: tokens.to_vec(), rows, read })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of positions where the tokens are due.
    pub fn positions(&self) -> usize {
        self.rows.iter().map(|row| row.due.len()).sum()
    }

    /// Returns the number of positions where the tokens are due in each row.
    pub fn by_row(&self) -> Vec<f64> {
        self.rows.iter().map(|row| row.due.len() as f64).collect()
    }

    /// Splits all rows into batches, whose size depends on the number of logits.
    pub fn parts(&self, vocab: usize) -> Result<Vec<DueBatch>> {
        let longest = self.rows.last().map_or(1, |row| row.ids.len());
        let count = (AT_ONCE.min(LOGITS / vocab.max(1)) / longest).max(1);
        self.rows.chunks(count).map(DueBatch::of).collect()
    }
}

impl DueRow {
    /// Builds a row, or none if no token is due: the first token of a row is never due.
    fn of(mut ids: Vec<u32>, tokens: &[u32]) -> Option<Self> {
        let next = ids.iter().skip(1).enumerate();
        let due: Vec<usize> = next.filter(|(_, next)| tokens.contains(next)).map(|(position, _)| position).collect();
        ids.truncate(due.last()? + 1);
        Some(Self { ids, due })
    }
}

impl DueBatch {
    fn of(rows: &[DueRow]) -> Result<Self> {
        let batch = Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?;
        let width = batch.width();
        let each = || rows.iter().enumerate().flat_map(|(number, row)| row.due.iter().map(move |at| (number, at)));
        Ok(Self {
            positions: each().map(|(row, at)| (row * width + at) as u32).collect(),
            rows: each().map(|(row, _)| row).collect(),
            batch,
        })
    }

    /// Selects from `[rows, pos, ..]` the positions where the tokens are due.
    pub fn chosen(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.flatten(0, 1)?.index_select(&Tensor::new(self.positions.as_slice(), x.device())?, 0)?)
    }

    /// Returns the row and column of each position where the tokens are due.
    pub fn points(&self) -> Vec<(usize, usize)> {
        let width = self.batch.width();
        self.positions.iter().map(|position| (*position as usize / width, *position as usize % width)).collect()
    }

    /// Sums the total probability of some tokens over each row of each of some copies of the batch, `[copies * rows]`, from the
    /// end of a pass where they are due in one copy after the other, with its gradient.
    pub fn values(&self, model: &Decoder, end: &PassEnd, tokens: &[u32], copies: usize, task: &Task) -> Result<Tensor> {
        let chances = chances(model, end, tokens, task)?;
        let count = self.batch.rows().len();
        let of_copy = |copy: usize| self.rows.iter().map(move |row| (copy * count + row) as u32);
        let rows: Vec<u32> = (0..copies).flat_map(of_copy).collect();
        let zeros = Tensor::zeros(copies * count, chances.dtype(), chances.device())?;
        Ok(zeros.index_add(&Tensor::new(rows, chances.device())?, &chances, 0)?)
    }

    /// Sums the total probability of some tokens where they are due over each row, from the residual stream after the
    /// last block.
    pub fn chances(&self, model: &Model, last: &Tensor, tokens: &[u32], task: &Task) -> Result<Vec<f64>> {
        let end = model.decoder.end_behind(&self.chosen(last)?, task)?;
        let mut sums = vec![0.0; self.batch.rows().len()];
        for (chance, row) in together_of(&model.decoder, &end, tokens, task)?.into_iter().zip(&self.rows) {
            sums[*row] += chance;
        }
        Ok(sums)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Builds the due positions of given rows.
    pub fn due(rows: &[&[u32]], tokens: &[u32]) -> Due {
        let found = rows.iter().filter_map(|row| DueRow::of(row.to_vec(), tokens)).collect();
        Due::sorted(found, tokens, rows.iter().map(|row| row.len()).sum()).unwrap()
    }

    #[test]
    fn rows_end_where_the_tokens_are_due_for_the_last_time() {
        let found = due(&[&[1, 9, 2, 8, 3], &[9, 4, 4], &[5, 9]], &[8, 9]);
        assert_eq!((found.rows(), found.positions(), found.by_row()), (2, 3, vec![1.0, 2.0]));
        let parts = found.parts(20).unwrap();
        assert_eq!(parts[0].batch.rows(), [vec![5], vec![1, 9, 2]]);
        assert_eq!((&parts[0].positions, &parts[0].rows), (&vec![0, 3, 5], &vec![0, 1, 1]));
        // One row at a time where memory holds no more logits.
        assert_eq!(found.parts(LOGITS).unwrap().len(), 2);
    }
}
