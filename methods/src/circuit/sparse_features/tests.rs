//! Tests of feature circuits against the reference on its models, and against the formulas in every shape of model.

mod fixtures;
mod judged;
mod plain;

use crate::data::pairs::tokens::TokenPair;

/// Returns two pairs of four tokens.
fn pairs() -> Vec<TokenPair> {
    let pair = |clean: [u32; 4], corrupt: [u32; 4]| TokenPair {
        clean: clean.to_vec(),
        corrupt: corrupt.to_vec(),
        answers: vec![vec![2]],
        wrong: vec![vec![5]],
        ..TokenPair::default()
    };
    vec![pair([1, 2, 3, 0], [1, 4, 3, 0]), pair([2, 0, 1, 1], [2, 0, 3, 1])]
}
