//! An explanation of a feature, and who explains or judges.

use crate::base::questions::Answers;
use crate::features::describe::Rule;

/// What a feature stands for, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Empty for a feature that is too seldom active to be explained.
    pub text: String,
    /// What the words say of each token, where they were made by rules.
    pub rule: Option<Rule>,
}

impl Explanation {
    /// An explanation in somebody's own words.
    pub fn in_words(text: &str) -> Self {
        Self { text: text.into(), rule: None }
    }
}

/// Who explains features, simulates them and judges.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// Rules over facts of tokens, without a language model. They see tokens, what is directly before them, their form and
    /// their labels; not meaning, nothing further back, and not how strongly a feature is active.
    Rules,
    /// A language model, or a person.
    Words(&'a dyn Answers),
}

impl By<'_> {
    /// As titles of tables say it.
    pub fn name(&self) -> String {
        match self {
            By::Rules => "rules".into(),
            By::Words(answers) => answers.name(),
        }
    }
}
