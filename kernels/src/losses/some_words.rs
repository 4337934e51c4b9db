//! Logits of the few words that a reader names, without those of all others, and the ranks of words among all.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::by_words::{
    GoesOn, LogitBlock, UnembeddedRows, Unembedding, UnembeddingMatrix, WORDS, block_totals, joined,
};
use crate::base::error::{Result, bail};
use crate::base::instructions::arch;
use crate::base::parallel;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// A row, and a word behind it.
pub type RowWord = (usize, u32);

/// Place of a word among all behind its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedWord {
    /// Number of words with a larger logit.
    pub larger: usize,
    /// log p of the word, in nats.
    pub log_probability: f64,
}

/// Computes the logits of some words, each behind a row: `[words]`. A gradient flows to the rows.
pub fn logits_of_words(rows: UnembeddedRows, words: &[RowWord]) -> Result<Tensor> {
    let UnembeddedRows { x, by } = rows;
    let [_, inner] = by.dims()?;
    let groups = by_word(rows, words)?;
    let way = if words.is_empty() { Implementation::Plain } else { by.way(x)? };
    if way == Implementation::Plain {
        return logits_of_words_plain(rows, words, &groups);
    }
    let from = flat(x)?;
    let from = FlatNumbers::of(&from)?;
    let from = from.slice();
    let mut found = vec![0.0; words.len()];
    let mut memory = Fresh::new(words.len())?;
    for (word, group) in &groups {
        let read = group.iter().flat_map(|number| &from[words[*number].0 * inner..][..inner]);
        let logits = by.part(&only(*word))?.logits(&read.copied().collect::<Vec<f32>>(), &mut memory)?;
        for (number, logit) in group.iter().zip(logits) {
            found[*number] = *logit;
        }
    }
    if way == Implementation::Fused {
        return Fresh::from(found).tensor(&[words.len()], DType::F32);
    }
    let by = by.clone();
    let dims = x.dims().to_vec();
    let count = x.elem_count();
    let words = words.to_vec();
    record_by_gradient("logits_of_words", Fresh::from(found.clone()), &[found.len()], &[x], move |gradient| {
        let arch = arch();
        let gradient = flat(gradient)?;
        let gradients = FlatNumbers::of(&gradient)?;
        let mut sums = vec![0.0_f32; count];
        for (word, group) in &groups {
            let part = by.part(&only(*word))?;
            let weights = part.floats()?;
            let weights = FlatNumbers::of(&weights)?;
            for number in group {
                let mut slope = [gradients.slice()[*number]];
                part.pull_through(arch, part.cap_slopes(&[found[*number]]).as_deref(), &mut slope);
                let sums = &mut sums[words[*number].0 * inner..][..inner];
                for (sum, weight) in sums.iter_mut().zip(weights.slice()) {
                    *sum += slope[0] * weight;
                }
            }
        }
        Ok(vec![Some(Fresh::from(sums).tensor(&dims, DType::F32)?)])
    })
}

/// Returns the place of each of some words among all, behind its row.
pub fn ranks_of(rows: UnembeddedRows, words: &[RowWord], goes_on: GoesOn) -> Result<Vec<RankedWord>> {
    ranks_by(rows, words, WORDS, goes_on)
}

pub(crate) fn ranks_by(
    rows: UnembeddedRows,
    words: &[RowWord],
    at_once: usize,
    goes_on: GoesOn,
) -> Result<Vec<RankedWord>> {
    let UnembeddedRows { x, by } = rows;
    let x = x.detach();
    let [all, inner] = by.dims()?;
    let groups = by_word(rows, words)?;
    let ranked = |larger: usize, own: f32, total: f64| RankedWord { larger, log_probability: f64::from(own) - total };
    if by.way(&x)? == Implementation::Plain {
        let logits = flat(&by.logits_plain(&x)?.to_device(&Device::Cpu)?)?;
        let logits = FlatNumbers::of(&logits)?;
        let totals = block_totals(logits.slice(), all.max(1));
        let of_word = |(row, word): &RowWord| {
            let logits = &logits.slice()[row * all..][..all];
            let own = logits[*word as usize];
            ranked(larger(logits, own), own, f64::from(totals[*row]))
        };
        return Ok(words.iter().map(of_word).collect());
    }
    let x = flat(&x)?;
    let x = FlatNumbers::of(&x)?;
    // Of the very blocks that they are compared with: another product may round another way, and equal logits are no larger.
    let mut own = vec![0.0; words.len()];
    let mut done = 0..0;
    for word in groups.keys() {
        let word = *word as usize;
        if done.contains(&word) {
            continue;
        }
        done = word / at_once * at_once..all.min((word / at_once + 1) * at_once);
        by.part(&done)?.each_block(x.slice(), at_once, goes_on, |block, _| {
            for ((row, word), own) in words.iter().zip(&mut own) {
                if block.rows.contains(row) && done.contains(&(*word as usize)) {
                    *own = block.row(*row)[*word as usize - done.start];
                }
            }
            Ok(())
        })?;
    }
    let mut found = vec![0; words.len()];
    let mut totals = vec![f64::NEG_INFINITY; x.slice().len() / inner];
    by.each_block(x.slice(), at_once, goes_on, |block, _| {
        let block = &block;
        for (row, total) in block.rows.clone().zip(block.totals()) {
            totals[row] = joined(totals[row], f64::from(total));
        }
        let counts = parallel::of_each_short(0..words.len(), &|number| {
            let row = words[number].0;
            if block.rows.contains(&row) { larger(block.row(row), own[number]) } else { 0 }
        });
        for (found, count) in found.iter_mut().zip(counts) {
            *found += count;
        }
        Ok(())
    })?;
    let each = words.iter().zip(found).zip(own);
    Ok(each.map(|(((row, _), larger), own)| ranked(larger, own, totals[*row])).collect())
}

impl LogitBlock<'_> {
    /// Returns the logits of a row, which the block has, by the number of the row among all.
    fn row(&self, row: usize) -> &[f32] {
        let width = self.words.len();
        &self.logits[(row - self.rows.start) * width..][..width]
    }

    /// Computes log(sum of e^logits) of each row.
    fn totals(&self) -> Vec<f32> {
        block_totals(self.logits, self.words.len())
    }
}

fn larger(logits: &[f32], own: f32) -> usize {
    logits.iter().filter(|logit| **logit > own).count()
}

fn only(word: u32) -> Range<usize> {
    word as usize..word as usize + 1
}

/// Returns the numbers of the rows' words, by the word.
fn by_word(UnembeddedRows { x, by }: UnembeddedRows, words: &[RowWord]) -> Result<BTreeMap<u32, Vec<usize>>> {
    let [all, inner] = by.dims()?;
    let rows = x.elem_count() / inner.max(1);
    let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (number, (row, word)) in words.iter().enumerate() {
        if *row >= rows || *word as usize >= all {
            bail!(Index, "expected words below {all} behind rows below {rows}, found word {word} behind row {row}");
        }
        groups.entry(*word).or_default().push(number);
    }
    Ok(groups)
}

fn logits_of_words_plain(
    UnembeddedRows { x, by }: UnembeddedRows,
    words: &[RowWord],
    groups: &BTreeMap<u32, Vec<usize>>,
) -> Result<Tensor> {
    if words.is_empty() {
        return Ok(Tensor::zeros(0, x.dtype(), x.device())?);
    }
    let named = Tensor::new(groups.keys().copied().collect::<Vec<u32>>(), x.device())?;
    let matrix = match &by.matrix {
        UnembeddingMatrix::Numbers(numbers) => numbers.index_select(&named, 0)?,
        UnembeddingMatrix::Packed(packed) => packed.look_up(&named)?.to_dtype(x.dtype())?,
    };
    let bias = by.bias.as_ref().map(|bias| bias.index_select(&named, 0)).transpose()?;
    let some = Unembedding { matrix: UnembeddingMatrix::Numbers(matrix), bias, scale: by.scale, cap: by.cap };
    let mut places = vec![0; words.len()];
    for (column, group) in groups.values().enumerate() {
        for number in group {
            places[*number] = (words[*number].0 * groups.len() + column) as u32;
        }
    }
    Ok(some.logits_plain(x)?.flatten_all()?.index_select(&Tensor::new(places, x.device())?, 0)?)
}
