//! The answers: plain functions of a model and its dictionaries, which know nothing of connections.

mod card;
mod compare;
mod continuations;
mod heads;
mod lenses;
mod read;
mod save;
mod tokens;
mod tree;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::Explorer;
use crate::base::{Result, Task, json};
use crate::err;

pub use card::{overview, survey_name};
pub use compare::CompareQuestion;
pub use continuations::{Change, ContinueQuestion};
pub use heads::{HEADS, HeadAnswers, head_answers};
pub use lenses::LensesQuestion;
pub use read::ReadQuestion;
pub use save::SaveQuestion;
pub use tree::{tree_name, tree_text};

/// The questions that can be asked.
pub const ASKS: [&str; 9] = ["read", "card", "continue", "compare", "tree", "lenses", "heads", "head", "save"];

/// A question.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Question {
    Read(ReadQuestion),
    Card(CardQuestion),
    Continue(ContinueQuestion),
    Compare(CompareQuestion),
    Tree(FeatureQuestion),
    Lenses(LensesQuestion),
    Heads,
    Head(HeadQuestion),
    Save(SaveQuestion),
}

/// A feature of one of the dictionaries.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct FeatureQuestion {
    pub dictionary: usize,
    pub feature: usize,
}

/// A feature of one of the dictionaries, and whether its card leaves out the positions 0 of the text.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct CardQuestion {
    pub dictionary: usize,
    pub feature: usize,
    #[serde(default)]
    pub without_first: bool,
}

/// An attention head of the model.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct HeadQuestion {
    pub layer: usize,
    pub head: usize,
}

/// Reads the fields of a question from JSON.
pub fn fields(body: &[u8]) -> Result<Value> {
    json::read(body, |e| err!(Format, "expected a question in JSON, found another text: {e}"))
}

impl Question {
    /// Parses the question of this name with these fields.
    pub fn parse(ask: &str, mut value: Value) -> Result<Self> {
        if let Some(fields) = value.as_object_mut() {
            fields.insert("ask".into(), ask.into());
        }
        Self::deserialize(value).map_err(|e| err!(Format, "expected the fields of `{ask}`, found others: {e}"))
    }
}

/// Answers a question: returns the last line of the answer, and passes those before it to `say`.
pub fn answer(explorer: &Explorer, question: Question, say: &mut dyn FnMut(Value), task: &Task) -> Result<Value> {
    match question {
        Question::Read(reading) => data(&read::read(explorer, &reading, task)?),
        Question::Card(of) => card::card(explorer, of, task),
        Question::Continue(proceeding) => continuations::continue_text(explorer, &proceeding, say, task),
        Question::Compare(comparing) => data(&compare::compare(explorer, &comparing, task)?),
        Question::Tree(FeatureQuestion { dictionary, feature }) => {
            data(&tree::tree(explorer, dictionary, feature, task)?)
        }
        Question::Lenses(reading) => data(&lenses::lenses(explorer, &reading, task)?),
        Question::Heads => heads::heads(explorer, task),
        Question::Head(of) => heads::head(explorer, of, task),
        Question::Save(saving) => save::save(explorer, &saving, task),
    }
}

/// Returns an answer as JSON.
fn data(answer: &impl Serialize) -> Result<Value> {
    serde_json::to_value(answer).map_err(|e| err!(Bug, "an answer that cannot be sent: {e}"))
}
