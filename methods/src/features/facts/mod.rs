//! Facts about each token of a text, in words: labels, the token's form, and what comes before it.

mod brackets;
mod columns;
mod tokens;

pub use tokens::{looks, of_name, strings};

use super::TextCodes;

/// The part of a sentence that a fact is, so that several combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactRole {
    /// The nature of the token: "a number".
    What,
    /// The surroundings of the token: "inside a bracket".
    Where,
    /// A clause by itself: "bracket due".
    Clause,
}

/// A property of some tokens of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub text: String,
    pub role: FactRole,
    /// Whether the fact is true of each token.
    pub holds: Vec<bool>,
}

impl Fact {
    pub fn new(text: impl Into<String>, role: FactRole, holds: Vec<bool>) -> Self {
        Self { text: text.into(), role, holds }
    }
}

/// Returns the labels of a text as facts about its tokens, brackets first.
pub fn of_labels(read: &TextCodes) -> Vec<Fact> {
    let mut facts = brackets::facts(read);
    for (column, values) in &read.labels {
        facts.extend(columns::facts(column, values));
    }
    facts
}
