//! The tokens with the largest sums of a feature's activations, in bounded memory.

use serde::{Deserialize, Serialize};

/// The number of tokens tracked at once.
const FOLLOWED: usize = 32;

/// The number of numbers compared at a time.
const LANES: usize = 8;

/// The counts of a token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtToken {
    pub token: u32,
    /// The number of the token's occurrences at which the feature was active since it is tracked; `sum` is that of the
    /// sizes of its activations there.
    pub fired: u64,
    pub sum: f64,
    /// The largest sum that may have been missed before the token was tracked.
    pub missed: f64,
}

/// The tokens with the largest sums, by the Space-Saving algorithm (Metwally et al. 2005) with activations as weights.
/// A token that has more than the 32nd part of the whole sum is among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TopTokens {
    /// The ids by themselves, since they are searched at every activation; no token has the largest id.
    ids: Vec<u32>,
    /// The largest sum that each token can have; 0 for a free slot.
    weights: Vec<f64>,
    found: Vec<AtToken>,
}

impl TopTokens {
    pub fn take(&mut self, token: u32, code: f32) {
        if self.ids.is_empty() {
            let none = AtToken { token: u32::MAX, fired: 0, sum: 0.0, missed: 0.0 };
            (self.ids, self.weights, self.found) =
                (vec![u32::MAX; FOLLOWED], vec![0.0; FOLLOWED], vec![none; FOLLOWED]);
        }
        let known = place(&self.ids, token);
        let at = known.unwrap_or_else(|| weakest(&self.weights));
        let (Some(id), Some(weight), Some(found)) =
            (self.ids.get_mut(at), self.weights.get_mut(at), self.found.get_mut(at))
        else {
            return;
        };
        if known.is_none() {
            (*id, *found) = (token, AtToken { token, fired: 0, sum: 0.0, missed: *weight });
        }
        let size = f64::from(code.abs());
        *weight += size;
        found.fired += 1;
        found.sum += size;
    }

    /// Returns the tokens sorted by the sums that are certain, the largest first.
    pub fn strongest(&self) -> Vec<AtToken> {
        let mut found: Vec<AtToken> = self.found.iter().filter(|at| at.fired > 0).copied().collect();
        found.sort_by(|a, b| b.sum.total_cmp(&a.sum).then(a.token.cmp(&b.token)));
        found
    }
}

/// Returns the index of a token.
fn place(ids: &[u32], token: u32) -> Option<usize> {
    let hit = |ids: &[u32]| ids.iter().enumerate().fold(0_u32, |hit, (at, id)| hit | u32::from(*id == token) << at);
    let parts = ids.chunks_exact(LANES).map(hit).enumerate();
    parts.filter(|(_, hit)| *hit != 0).map(|(part, hit)| part * LANES + hit.trailing_zeros() as usize).next()
}

/// Returns the index of the smallest number.
fn weakest(weights: &[f64]) -> usize {
    let mut lanes = [(f64::INFINITY, 0); LANES];
    for (part, weights) in weights.chunks_exact(LANES).enumerate() {
        for (least, weight) in lanes.iter_mut().zip(weights) {
            if *weight < least.0 {
                *least = (*weight, part);
            }
        }
    }
    let mut found = (f64::INFINITY, 0);
    for (lane, (weight, part)) in lanes.into_iter().enumerate() {
        if weight < found.0 {
            found = (weight, part * LANES + lane);
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tokens_are_counted_exactly() {
        let mut tokens = TopTokens::default();
        for i in 0..300_u32 {
            tokens.take(i % 30, if i % 30 == 7 { 2.0 } else { 1.0 });
        }
        let found = tokens.strongest();
        assert_eq!(found[0], AtToken { token: 7, fired: 10, sum: 20.0, missed: 0.0 });
        assert_eq!((found.len(), found[1].token, found[1].sum), (30, 0, 10.0));
    }

    #[test]
    fn among_many_a_frequent_one_is_found_and_bounded() {
        let mut tokens = TopTokens::default();
        let mut whole = 0.0;
        for i in 0..20_000_u32 {
            let (token, code) = if i % 10 == 3 { (5, -3.0) } else { (100 + i * 7919 % 1000, 1.0) };
            tokens.take(token, code);
            whole += f64::from(code.abs());
        }
        let first = tokens.strongest()[0];
        assert_eq!(first.token, 5);
        assert!(first.sum <= 6000.0 && first.sum + first.missed >= 6000.0 && first.missed < whole / 32.0, "{first:?}");
    }
}
