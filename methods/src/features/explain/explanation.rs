//! An explanation of a feature, and the explainers and judges.

use crate::features::describe::Rule;
use crate::questions::Answers;

/// The meaning of a feature, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The words; empty for a feature that is too seldom active to be explained.
    pub text: String,
    /// The rule that the words describe, where they were made by rules.
    pub rule: Option<Rule>,
}

impl Explanation {
    /// Wraps an explanation in a user's own words.
    pub fn in_words(text: &str) -> Self {
        Self { text: text.into(), rule: None }
    }
}

/// Explainers and judges of features.
#[derive(Clone, Copy)]
pub enum Answerer<'a> {
    /// Rules over facts of tokens, without a language model. They see tokens, what is directly before them, their form
    /// and their labels; not meaning, nothing further back, and not how strongly a feature is active.
    Rules,
    /// A language model, or a person.
    Words(&'a dyn Answers),
}

impl Answerer<'_> {
    /// Returns the name in titles of tables.
    pub fn name(&self) -> String {
        match self {
            Answerer::Rules => "rules".into(),
            Answerer::Words(answers) => answers.name(),
        }
    }
}
