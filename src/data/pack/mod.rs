//! Texts as rows of tokens: packed without gaps, mixed, shuffled, and in epochs for training.

mod compact;
mod encode;
mod rows;
mod training;

#[cfg(test)]
mod tests;

pub use rows::{Row, Rows, Stretch, rows};

use crate::base::{Result, Task};
use crate::data::Text;
use crate::err;
use crate::model::tokenizer::Tokenizer;
use crate::model::train::Batches;

impl Text {
    /// Rows of `context` tokens and their targets, without end: whole epochs, each in another order and cut elsewhere.
    /// A generator without a limit goes on instead, and is never repeated. The same seed gives the same rows, however
    /// many are asked for at once.
    pub fn batches(&self, tokenizer: &Tokenizer, context: usize, seed: u64, task: &Task) -> Result<Box<dyn Batches>> {
        Ok(Box::new(training::TrainingRows::new(self, tokenizer, context, seed, task)?))
    }
}

/// The token that each row of a text begins with, if there is one.
fn beginning(text: &Text, bos: Option<bool>, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    match text.options().bos.or(bos) {
        Some(false) => Ok(None),
        Some(true) => {
            let none = || err!(Argument, "this tokenizer has no token that marks the beginning of a text");
            tokenizer.bos().map(Some).ok_or_else(|| none().hint("leave out `bos`"))
        }
        None => Ok(tokenizer.rule().0.first().copied()),
    }
}
