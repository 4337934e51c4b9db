//! Floor 3: questions in words, and their answers by a language model behind an address, one that was loaded, or a
//! person.

pub mod endpoint;

use crate::base::{Result, Task};

/// A question to a language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The task, which is the same for many questions.
    pub system: String,
    pub user: String,
    /// Maximum number of tokens in the answer.
    pub tokens: usize,
    /// Whether the probabilities of the answer's tokens are of use.
    pub chances: bool,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    pub text: String,
    /// Each token of the answer with the likeliest tokens at its place; empty where none are offered.
    pub chances: Vec<TokenChances>,
}

/// A token of an answer, and the likeliest tokens at its place with their log probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenChances {
    pub token: String,
    pub top: Vec<(String, f64)>,
}

/// A model or person that answers questions.
pub trait Answers {
    /// Returns the name as titles of tables say it.
    fn name(&self) -> String;

    /// Answers all questions, in their order. An answer that cannot be read is an error in its place; whatever makes
    /// further questions useless is the error of all.
    fn answers(&self, questions: &[Question], task: &Task) -> Result<Vec<Result<Reply>>>;
}
