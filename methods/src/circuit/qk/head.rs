//! Questions to a head whose score is split, of the model or of a Lorsa.

use super::lorsas::ReadingLorsa;
use super::rows::Rows;
use crate::common::*;
use kernels::Reach;

/// A head that looks from a query to keys.
pub trait ScoredHead {
    fn name(&self) -> String;

    fn layer(&self) -> usize;

    /// Returns the layer that the head's keys are of.
    fn keys_from(&self) -> usize {
        self.layer()
    }

    /// Returns the keys that a query attends to.
    fn reach(&self) -> Reach<'static>;

    /// Returns the factor of `q . k`.
    fn scale(&self) -> f64;

    /// Returns the soft cap of scores.
    fn cap(&self) -> Option<f64> {
        None
    }

    /// Returns the term that the position of a key adds to the score.
    fn position_bias(&self, _to: usize) -> Option<f64> {
        None
    }

    /// Returns the place of the scores that the model computes; a head of a Lorsa has none there.
    fn place(&self) -> Option<Place> {
        None
    }

    fn is_of_lorsa(&self) -> bool {
        self.place().is_none()
    }

    /// Takes what Lorsas read in the text, for a query at a position.
    fn read(&mut self, _lorsas: &BTreeMap<usize, ReadingLorsa>, _from: usize) -> Result<()> {
        Ok(())
    }

    /// Finds the key with the largest score among those that a query attends to.
    fn largest(&self, batch: &Batch, from: usize, task: &Task) -> Result<usize>;

    /// Returns the score for a key, which the cache has where the model computes it: of the first position that is recorded.
    fn score(&self, cache: &Cache, to: usize) -> Result<f64>;

    /// Takes parts from the input of attention to the head's query at a position.
    fn query(&self, position: usize, input: &Rows) -> Result<Rows>;

    /// Takes parts from the input of attention to the key that the head reads at a position.
    fn key(&self, position: usize, input: &Rows) -> Result<Rows>;
}

/// Returns the key with the largest score, the last of several.
pub fn key_of_largest(scores: impl Iterator<Item = (usize, f64)>) -> Result<usize> {
    let found = scores.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(key, _)| key);
    found.ok_or_else(|| err!(Bug, "a query without keys"))
}
