//! N-grams of texts: fitting the model to one, and its bits per byte on another.

use super::Ngram;
use crate::common::*;
use crate::data::Text;
use crate::data::bits::Bits;
use crate::data::pack::beginning;
use crate::data::whole::Whole;

impl Ngram {
    /// Counts the n-grams of a text's documents, each between two EOS tokens.
    pub fn of_text(text: &Text, tokenizer: &Tokenizer, order: usize, vocab: usize, task: &Task) -> Result<Self> {
        let mut whole = Whole::new(text, tokenizer, front(text, tokenizer)?, task)?;
        let between = tokenizer.eos();
        let mut next = || {
            let document = whole.next(task)?;
            Ok(document.map(|document| document.ids.into_iter().chain(between).collect()))
        };
        Self::fit(&mut next, order, vocab, task).map_err(|e| e.within(text.name()))
    }

    /// Computes the bits of the model on a text. As for a language model, a document begins after the BOS token, or the
    /// EOS token; without either, its first token is not predicted. The text's limit counts tokens.
    pub fn bits(&self, text: &Text, tokenizer: &Tokenizer, task: &Task) -> Result<Bits> {
        let mut whole = Whole::new(text, tokenizer, front(text, tokenizer)?, task)?;
        let bar = task.begin(&format!("scoring {}", text.name()), None);
        let mut found = Bits::default();
        while let Some(document) = whole.next(task)? {
            let losses = self.losses(&document.ids, task)?;
            found.nats += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            found.tokens += losses.len() as u64;
            found.bytes += document.bytes;
            bar.advance(losses.len() as u64);
        }
        match found.tokens {
            0 => Err(err!(Argument, "expected a text of at least two tokens, found none in {}", text.name())),
            _ => Ok(found),
        }
    }
}

/// Returns the token before each document.
fn front(text: &Text, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    Ok(beginning(text, None, tokenizer)?.or(tokenizer.eos()))
}
