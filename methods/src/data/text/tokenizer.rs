//! Training a tokenizer on a text.

use super::Text;
use crate::common::*;
use crate::tokenizer::train::{TokenizerOptions, train};

crate::options! {
    pub struct TextTokenizerOptions {
        /// Maximum number of bytes read of a text of `data::text`; a text without end needs it.
        bytes: Option<usize> = None => usually("all");
        with tokenizer: TokenizerOptions;
    }
}

impl Text {
    /// Trains a tokenizer on the text. After `bytes` bytes no further document is read.
    pub fn tokenizer(&self, options: &TextTokenizerOptions, task: &Task) -> Result<Tokenizer> {
        if options.bytes.is_none() && self.is_endless() {
            return Err(err!(Argument, "expected `bytes`, a limit for a text without end, found none").about("bytes"));
        }
        let mut documents = self.documents(task)?;
        let mut left = options.bytes.unwrap_or(usize::MAX);
        let mut next = || {
            if left == 0 {
                return Ok(None);
            }
            let text = documents.next(task)?.map(|document| document.text);
            left = left.saturating_sub(text.as_ref().map_or(0, String::len));
            Ok(text)
        };
        train(&mut next, &options.tokenizer, task)
    }
}

impl TextTokenizerOptions {
    /// Trains a tokenizer on strings, which are read whole.
    pub fn on_strings(&self, texts: Vec<String>, task: &Task) -> Result<Tokenizer> {
        if self.bytes.is_some() {
            let what = "expected a text of `data::text` to go with `bytes`, found strings";
            return Err(err!(Argument, "{what}").about("bytes"));
        }
        let mut texts = texts.into_iter();
        train(&mut || Ok(texts.next()), &self.tokenizer, task)
    }
}
