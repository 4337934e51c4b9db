//! Training tokenizers on texts: byte-level BPE, words, characters.

mod bpe;
mod forced_joins;
pub(super) mod pre_tokenizer;
mod word_level;

#[cfg(test)]
mod tests;

pub(crate) use pre_tokenizer::is_ours;

use super::Tokenizer;
use crate::base::task::Bar;
use crate::common::*;
use crate::options::OptionGroup;

crate::choices! {
    /// The kind of tokens.
    pub enum TokenizerKind {
        /// Sequences of bytes, merged by frequency (Sennrich et al. 2016, on bytes).
        Bpe = "bpe",
        /// Words, split at white space.
        Words = "words",
        Characters = "characters",
    }
}

crate::options! {
    pub struct TokenizerOptions {
        /// The kind of tokens.
        kind: TokenizerKind = TokenizerKind::Bpe;
        /// Maximum vocabulary size.
        vocab: usize = 4096;
        /// A special token or an array of them, which get the first ids; the first one is both EOS and BOS, as in
        /// Pythia, and `<unk>` stands for words and characters without a token.
        special: Vec<String> = vec![END.into()] => usually("\"<|endoftext|>\"");
        /// Minimum count of a token in the texts.
        min_frequency: u64 = 2;
        /// Maximum number of digits in a token; numbers are cut from the left, and every group of at most this many digits
        /// is a token, with a space before it and without.
        digits: Option<usize> = None => only("kind", &["bpe"]);
        /// Characters such as brackets and quotes that are always tokens by themselves; each may have a space before it.
        apart: String = String::new() => only("kind", &["bpe"]);
    }
}

/// The token that separates texts, as GPT-2 and Pythia call it.
pub const END: &str = "<|endoftext|>";

/// The token of words and characters that are not in the vocabulary, if it is among the special tokens.
const UNKNOWN: &str = "<unk>";

/// A function that returns the next text; none when there are no more.
pub type Texts<'a> = &'a mut (dyn FnMut() -> Result<Option<String>> + Send);

/// Trains a tokenizer on texts: the same one on the same texts in the same order.
pub fn train(texts: Texts, options: &TokenizerOptions, task: &Task) -> Result<Tokenizer> {
    check(options)?;
    let mut reader = TextReader::new(texts, task);
    let trained = match options.kind {
        TokenizerKind::Bpe => bpe::train(&mut reader, options, task),
        TokenizerKind::Words | TokenizerKind::Characters => word_level::train(&mut reader, options),
    };
    // After an error or an interruption the tokenizer was trained on a part of the texts only.
    match reader.failed {
        Some(error) => Err(error),
        None => trained,
    }
}

fn check(options: &TokenizerOptions) -> Result<()> {
    options.refuse_others()?;
    for (index, name) in options.special.iter().enumerate() {
        // Byte-level tokenizers write bytes as names of one character.
        if name.chars().nth(1).is_none() {
            return Err(
                err!(Argument, "expected special tokens of two characters or more, found {name:?}").about("special")
            );
        }
        if name.contains(char::is_whitespace) {
            return Err(err!(Argument, "expected special tokens without white space, found {name:?}").about("special"));
        }
        if options.special.iter().take(index).any(|other| other == name) {
            return Err(err!(Argument, "expected special tokens that differ, found `{name}` twice").about("special"));
        }
    }
    Ok(())
}

/// An iterator over texts until they end, one fails, or the user interrupts.
struct TextReader<'a> {
    texts: Texts<'a>,
    task: &'a Task,
    bar: Box<dyn Bar>,
    failed: Option<Error>,
}

impl<'a> TextReader<'a> {
    fn new(texts: Texts<'a>, task: &'a Task) -> Self {
        Self { texts, task, bar: task.begin("reading texts", None), failed: None }
    }
}

impl Iterator for TextReader<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.failed.is_some() {
            return None;
        }
        match self.task.check().and_then(|()| (self.texts)()) {
            Ok(text) => {
                self.bar.advance(text.as_ref().map_or(0, |text| text.len() as u64));
                text
            }
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

fn nothing_read() -> Error {
    err!(Argument, "expected text to train a tokenizer on, found none").about("text")
}
