//! N-grams of a text: the model that is fitted to one, and the bits that it needs for another.

use super::Ngram;
use crate::base::{Result, Task};
use crate::data::Text;
use crate::data::bits::Bits;
use crate::data::pack::{Encoded, Encoder, beginning};
use crate::err;
use crate::model::tokenizer::Tokenizer;

impl Ngram {
    /// Counts the n-grams of a text's documents, each between two of the tokens that stand between texts.
    pub fn of_text(text: &Text, tokenizer: &Tokenizer, order: usize, vocab: usize, task: &Task) -> Result<Self> {
        let mut whole = Whole::new(text, tokenizer, task)?;
        let between = tokenizer.eos();
        let mut next = || {
            let document = whole.next(task)?;
            Ok(document.map(|document| document.ids.into_iter().chain(between).collect()))
        };
        Self::fit(&mut next, order, vocab, task).map_err(|e| e.within(text.name()))
    }

    /// What the model needs for a text. As with a model that reads tokens, a document begins behind the token that texts
    /// begin with, or that stands between them; where there is none, its first token is not judged. The text's limit
    /// counts tokens.
    pub fn bits(&self, text: &Text, tokenizer: &Tokenizer, task: &Task) -> Result<Bits> {
        let mut whole = Whole::new(text, tokenizer, task)?;
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

/// The documents of a text in tokens, each in one.
struct Whole {
    encoder: Encoder,
    /// What stands before each document.
    front: Option<u32>,
    /// How many tokens are still to be read.
    left: u64,
    /// The beginning of the next document.
    ready: Option<Encoded>,
}

struct Document {
    ids: Vec<u32>,
    /// What its tokens stand for, but for the first one of all.
    bytes: u64,
}

impl Whole {
    fn new(text: &Text, tokenizer: &Tokenizer, task: &Task) -> Result<Self> {
        if text.is_endless() && text.options().tokens.is_none() {
            return Err(err!(Argument, "expected a text with an end, found {}, which has none", text.name())
                .hint("say with `tokens` how much of it is read"));
        }
        let front = beginning(text, None, tokenizer)?.or(tokenizer.eos());
        let mut encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
        let (left, ready) = (text.options().tokens.unwrap_or(u64::MAX), encoder.next(task)?);
        Ok(Self { encoder, front, left, ready })
    }

    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        let Some(mut piece) = self.ready.take().filter(|_| self.left > 0) else { return Ok(None) };
        let unjudged = match self.front {
            Some(_) => 0,
            None => piece.spans.first().map_or(0, |span| span.end),
        };
        let mut ids: Vec<u32> = self.front.into_iter().collect();
        let mut end;
        loop {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.ids.len());
            ids.extend(piece.ids.iter().take(taken));
            self.left -= taken as u64;
            end = match taken == piece.ids.len() {
                true => piece.at + piece.bytes,
                false => piece.spans.iter().take(taken).last().map_or(piece.at, |span| span.end),
            };
            match self.encoder.next(task)? {
                Some(more) if more.at > 0 && self.left > 0 => piece = more,
                next => {
                    self.ready = next;
                    break;
                }
            }
        }
        Ok(Some(Document { ids, bytes: end.saturating_sub(unjudged) }))
    }
}
