//! Tests of feature circuits against the reference on its models, and against the formulas in every shape of model.

mod fixtures;
mod judged;
mod plain;

use crate::data::pairs::tokens::TokenPair;
use crate::intervene::fixtures::pair;

/// Returns two pairs of four tokens.
fn pairs() -> Vec<TokenPair> {
    vec![pair([1, 2, 3, 0], [1, 4, 3, 0], [2, 5]), pair([2, 0, 1, 1], [2, 0, 3, 1], [2, 5])]
}
