//! An n-gram model over token ids: interpolated modified Kneser-Ney (Chen & Goodman 1999, section 3).
//!
//! The probability of a token after a context of n - 1 tokens is its discounted count, interpolated with the
//! probability after the context that is one token shorter, down to a uniform distribution:
//!
//! P(w | h) = (c(hw) - D(c(hw))) / c(h) + g(h) P(w | h'), g(h) = (D1 n1(h) + D2 n2(h) + D3 n3(h)) / c(h)
//!
//! where c counts occurrences for the longest contexts, and for shorter ones the different tokens before them; nk(h) is
//! the number of tokens that were counted k times after h (n3: three times or more).

mod fit;
mod level;
mod on_texts;

#[cfg(test)]
mod tests;

use self::level::{NgramLevel, key};
use crate::common::*;
use crate::model::predict::{Prediction, likeliest};

/// Number of tokens predicted between two checks for an interruption.
const PORTION: usize = 1 << 12;

crate::options! {
    pub struct NgramOptions {
        /// Number of tokens in an n-gram, the predicted one included; from 1 to 5. With more, the model grows and
        /// predictions hardly improve.
        order: usize = 5;
    }

    pub struct NgramPredictOptions {
        /// The position whose next token is predicted; negative ones count from the end.
        pos: i64 = -1;
    }
}

#[derive(Debug, PartialEq)]
pub struct Ngram {
    vocab: usize,
    /// The n-grams of one token, of two, ..
    levels: Vec<NgramLevel>,
}

impl Ngram {
    pub fn order(&self) -> usize {
        self.levels.len()
    }

    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Returns the number of distinct n-grams of each length.
    pub fn sizes(&self) -> Vec<usize> {
        self.levels.iter().map(NgramLevel::len).collect()
    }

    /// Returns the log of the probability of every token to come next, in nats.
    pub fn logprobs(&self, context: &[u32]) -> Result<Vec<f32>> {
        self.known(context)?;
        let mut chances = vec![1.0 / self.vocab as f64; self.vocab];
        for (level, before) in self.contexts(context) {
            let Some(seen) = level.after(before) else { break };
            chances.iter_mut().for_each(|chance| *chance *= seen.rest());
            for (token, share) in seen.shares() {
                if let Some(chance) = chances.get_mut(token as usize) {
                    *chance += share;
                }
            }
        }
        Ok(chances.into_iter().map(|chance| chance.ln() as f32).collect())
    }

    /// Returns the log probabilities after each token of some rows: `[batch, pos, vocab]`. Shorter rows are padded with
    /// 0.
    pub fn logits(&self, rows: &[Vec<u32>], width: usize, task: &Task) -> Result<Tensor> {
        let vocab = self.vocab;
        let numbers = (rows.len() as u128) * (width as u128) * (vocab as u128);
        memory::check(numbers * size_of::<f32>() as u128, || "the predictions for all positions".into())?;
        let mut all = Vec::with_capacity(rows.len() * width * vocab);
        for row in rows {
            for end in 1..=row.len() {
                task.check()?;
                all.extend(self.logprobs(row.get(..end).unwrap_or_default())?);
            }
            all.resize(all.len() + (width - row.len()) * vocab, 0.0);
        }
        Ok(Tensor::from_vec(all, (rows.len(), width, vocab), &Device::Cpu)?)
    }

    /// Returns the `k` most likely tokens to come next.
    pub fn predict(&self, row: &[u32], options: &NgramPredictOptions, k: usize) -> Result<Vec<Prediction>> {
        let length = row.len() as i64;
        let position = options.pos;
        let place = if position < 0 { position + length } else { position };
        let Some(context) = usize::try_from(place).ok().and_then(|place| row.get(..=place)) else {
            return Err(err!(Argument, "expected a position within the {length} tokens of the text, found {position}")
                .about("pos"));
        };
        let logits = Tensor::from_vec(self.logprobs(context)?, (1, self.vocab), &Device::Cpu)?;
        likeliest(&logits, -1, k)
    }

    /// Returns the loss of every token but the first: -log of its probability after those before it, in nats.
    pub fn losses(&self, ids: &[u32], task: &Task) -> Result<Vec<f32>> {
        self.known(ids)?;
        let mut losses = Vec::with_capacity(ids.len());
        for start in (1..ids.len()).step_by(PORTION) {
            task.check()?;
            let end = (start + PORTION).min(ids.len());
            losses.extend(parallel::map(end - start, &|at| {
                let at = start + at;
                let context = ids.get(..at).unwrap_or_default();
                let token = ids.get(at).copied().unwrap_or_default();
                -self.chance(context, token).ln() as f32
            }));
        }
        Ok(losses)
    }

    /// Returns the probability of one token.
    fn chance(&self, context: &[u32], token: u32) -> f64 {
        let mut chance = 1.0 / self.vocab as f64;
        for (level, before) in self.contexts(context) {
            let Some(seen) = level.after(before) else { break };
            chance = seen.share(token) + seen.rest() * chance;
        }
        chance
    }

    /// Returns each level with its part of the context. If one has not been seen, longer ones have not either.
    fn contexts<'a>(&'a self, context: &'a [u32]) -> impl Iterator<Item = (&'a NgramLevel, u128)> {
        self.levels.iter().enumerate().map_while(|(length, level)| {
            let from = context.len().checked_sub(length)?;
            Some((level, key(context.get(from..)?)))
        })
    }

    fn known(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= self.vocab) {
            Some(id) => bail!(Index, "expected token ids below {}, found {id}", self.vocab),
            None => Ok(()),
        }
    }
}
