//! An n-gram model over token ids: interpolated modified Kneser-Ney (Chen & Goodman 1999, section 3).
//!
//! The probability of a token after a context of n - 1 tokens is what its count is worth after a discount, and for the
//! rest the probability after the context that is one token shorter, down to a uniform one:
//!
//! P(w | h) = (c(hw) - D(c(hw))) / c(h) + g(h) P(w | h'), g(h) = (D1 n1(h) + D2 n2(h) + D3 n3(h)) / c(h)
//!
//! where c counts occurrences for the longest contexts, and for shorter ones how many different tokens stand before;
//! nk(h) is how many tokens have been counted k times after h (n3: three times or more).

mod fit;
mod level;
mod reading;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::level::{Level, key};
use crate::bail;
use crate::base::{Result, Task};

/// Tokens predicted between two checks for an interruption.
const PORTION: usize = 1 << 12;

#[derive(Debug, PartialEq)]
pub struct Ngram {
    vocab: usize,
    /// The n-grams of one token, of two, ..
    levels: Vec<Level>,
}

impl Ngram {
    pub fn order(&self) -> usize {
        self.levels.len()
    }

    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The number of distinct n-grams of each length.
    pub fn sizes(&self) -> Vec<usize> {
        self.levels.iter().map(Level::len).collect()
    }

    /// The log of the probability of every token to come next, in nats.
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

    /// The loss of every token but the first: -log of its probability after those before it, in nats.
    pub fn losses(&self, ids: &[u32], task: &Task) -> Result<Vec<f32>> {
        self.known(ids)?;
        let mut losses = Vec::with_capacity(ids.len());
        for start in (1..ids.len()).step_by(PORTION) {
            task.check()?;
            let end = (start + PORTION).min(ids.len());
            let judged = (start..end).into_par_iter().map(|at| {
                let (context, token) = (ids.get(..at).unwrap_or_default(), ids.get(at).copied().unwrap_or_default());
                -self.chance(context, token).ln() as f32
            });
            losses.par_extend(judged);
        }
        Ok(losses)
    }

    /// The probability of one token.
    fn chance(&self, context: &[u32], token: u32) -> f64 {
        let mut chance = 1.0 / self.vocab as f64;
        for (level, before) in self.contexts(context) {
            let Some(seen) = level.after(before) else { break };
            chance = seen.share(token) + seen.rest() * chance;
        }
        chance
    }

    /// Each level with as much of the context as it looks at. Where one has not been seen, longer ones have not either.
    fn contexts<'a>(&'a self, context: &'a [u32]) -> impl Iterator<Item = (&'a Level, u128)> {
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
