//! Whole documents of a text in tokens, however long they are.

use super::Text;
use super::pack::{EncodedDocument, Encoder};
use crate::common::*;

/// The tokenized documents of a text, each in one list.
pub struct Whole {
    encoder: Encoder,
    /// The token before each document.
    front: Option<u32>,
    /// The number of tokens left to read.
    left: u64,
    /// The beginning of the next document.
    ready: Option<EncodedDocument>,
}

/// A document in tokens, as far as the text's limit allows.
pub struct Document {
    /// The token before the document, and its own tokens.
    pub ids: Vec<u32>,
    /// The bytes of the predicted tokens: all that have a token before them.
    pub bytes: u64,
    pub origin: Arc<str>,
}

impl Whole {
    pub fn new(text: &Text, tokenizer: &Tokenizer, front: Option<u32>, task: &Task) -> Result<Self> {
        text.expect_end()?;
        text.expect_characters()?;
        let mut encoder = Encoder::new(text.documents(task)?, tokenizer.clone());
        let left = text.options().tokens.unwrap_or(u64::MAX);
        let ready = encoder.next(task)?;
        Ok(Self { encoder, front, left, ready })
    }

    pub fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        let Some(mut piece) = self.ready.take().filter(|_| self.left > 0) else { return Ok(None) };
        let origin = piece.origin.clone();
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
            end = if taken == piece.ids.len() {
                piece.at + piece.bytes
            } else {
                piece.spans.iter().take(taken).next_back().map_or(piece.at, |span| span.end)
            };
            match self.encoder.next(task)? {
                Some(more) if more.at > 0 && self.left > 0 => piece = more,
                next => {
                    self.ready = next;
                    break;
                }
            }
        }
        Ok(Some(Document { ids, bytes: end.saturating_sub(unjudged), origin }))
    }
}
