//! A small model and pairs of prompts that tests of patching share.

use crate::data::pairs::tokens::TokenPair;
use crate::model::Model;
use crate::model::decoder::Decoder;

pub fn model(decoder: Decoder) -> Model {
    Model::new(decoder, None, "a small model")
}

/// Returns pairs of two lengths, the second with answers of several tokens.
pub fn pairs() -> Vec<TokenPair> {
    let pair = |clean: &[u32], corrupt: &[u32], answers: &[&[u32]]| TokenPair {
        clean: clean.to_vec(),
        corrupt: corrupt.to_vec(),
        answers: answers.iter().map(|ids| ids.to_vec()).collect(),
        wrong: vec![vec![5]],
        ..TokenPair::default()
    };
    vec![
        pair(&[1, 2, 3, 0], &[1, 4, 3, 0], &[&[2]]),
        pair(&[3, 3, 0, 1, 2], &[3, 3, 0, 4, 2], &[&[4, 1], &[1]]),
        pair(&[2, 0, 1, 1], &[2, 0, 3, 1], &[&[6]]),
    ]
}
