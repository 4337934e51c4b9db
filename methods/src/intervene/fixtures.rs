//! A small model and pairs of prompts that tests of patching share.

use serde_json::Value;

use crate::data::pairs::tokens::TokenPair;
use crate::model::Model;
use crate::model::decoder::Decoder;

pub fn model(decoder: Decoder) -> Model {
    Model::new(decoder, None, "a small model")
}

/// Makes a pair of prompts with an answer of one token and a wrong one.
pub fn pair(clean: impl Into<Vec<u32>>, corrupt: impl Into<Vec<u32>>, [right, wrong]: [u32; 2]) -> TokenPair {
    let answers = vec![vec![right]];
    let wrong = vec![vec![wrong]];
    TokenPair { clean: clean.into(), corrupt: corrupt.into(), answers, wrong, ..TokenPair::default() }
}

/// Makes pairs of prompts, each with the ids of an answer and of a wrong one.
pub fn pairs_of(clean: Vec<Vec<u32>>, corrupt: Vec<Vec<u32>>, answers: Vec<Vec<u32>>) -> Vec<TokenPair> {
    let prompts = clean.into_iter().zip(corrupt).zip(answers);
    prompts.map(|((clean, corrupt), ids)| pair(clean, corrupt, [ids[0], ids[1]])).collect()
}

/// Reads the pairs of a file of tests/fixtures/edges.
pub fn pairs_in(file: &Value) -> Vec<TokenPair> {
    let ids = |key: &str| serde_json::from_value(file[key].clone()).unwrap();
    pairs_of(ids("clean"), ids("corrupted"), ids("answers"))
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
