//! Detection and fuzzing (Paulo et al. 2024): a judge decides for some texts at a time whether a feature is active in
//! them, or whether it is active at the marked tokens.

use crate::common::*;
use crate::questions::{Question, Reply, TokenChances};

const DETECTION: &str = "A feature of a neural network is active at some tokens of a text, and an explanation says at which. \
    You are given the explanation and some texts. For every text, say whether the feature is active anywhere in it: 1 for \
    yes, 0 for no. Answer with nothing but a list that has one number for each text, such as [1, 0, 0].";

const FUZZING: &str = "A feature of a neural network is active at some tokens of a text, and an explanation says at which. \
    You are given the explanation and some texts, in which tokens stand between << and >>. For every text, say whether the \
    feature is active at the marked tokens: 1 for yes, 0 for no. Answer with nothing but a list that has one number for \
    each text, such as [1, 0, 0].";

/// The verdict of a judge on one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextVerdict {
    pub is_active: bool,
    /// The probability P(1) / (P(0) + P(1)), where the answer has the probabilities of its tokens.
    pub chance: Option<f64>,
}

/// Builds the question about some texts, in which tokens are marked for fuzzing.
pub fn question(explanation: &str, texts: &[&str], is_fuzzing: bool) -> Question {
    Question {
        system: if is_fuzzing { FUZZING } else { DETECTION }.into(),
        user: json!({ "explanation": explanation, "texts": texts }).to_string(),
        tokens: 32 + 4 * texts.len(),
        chances: true,
    }
}

/// Reads the verdicts of an answer: the first list in it, which must have as many entries as there were texts.
pub fn read(reply: &Reply, texts: usize) -> Result<Vec<TextVerdict>> {
    let list = reply.text.split_once('[').and_then(|(_, after)| Some(after.split_once(']')?.0));
    let list = list.ok_or_else(|| err!(Format, "expected a list of {texts} numbers, found none in the answer"))?;
    let bit = |entry: &str| match entry.trim() {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(err!(Format, "expected 0 or 1 for each text, found another entry")),
    };
    let bits = list.split(',').map(bit).collect::<Result<Vec<bool>>>()?;
    if bits.len() != texts {
        return Err(err!(Format, "expected a list of {texts} numbers, found {}", bits.len()));
    }
    // Probabilities count only where they are those of this very list.
    let named: Vec<&TokenChances> = reply.chances.iter().filter(|chances| digit(&chances.token).is_some()).collect();
    let is_same = named.iter().map(|chances| digit(&chances.token)).eq(bits.iter().map(|bit| Some(*bit)));
    let chance = |at: usize| if is_same { yes(&named.get(at)?.top) } else { None };
    Ok(bits
        .iter()
        .enumerate()
        .map(|(at, is_active)| TextVerdict { is_active: *is_active, chance: chance(at) })
        .collect())
}

/// Returns the digit of a token, alone or with the signs of a list around it.
fn digit(token: &str) -> Option<bool> {
    match token.trim_matches(|sign: char| sign.is_whitespace() || "[],".contains(sign)) {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// Returns P(1) / (P(0) + P(1)) of the likeliest tokens.
fn yes(top: &[(String, f64)]) -> Option<f64> {
    let sum = |wanted: bool| -> f64 {
        top.iter().filter(|(token, _)| digit(token) == Some(wanted)).map(|(_, logp)| logp.exp()).sum()
    };
    let yes = sum(true);
    let no = sum(false);
    (yes + no > 0.0 && (yes + no).is_finite()).then(|| yes / (yes + no))
}
