//! Making tokenizers of texts: byte-level BPE, words, characters.

mod bpe;
mod cutting;
mod forced;
mod listed;

#[cfg(test)]
mod tests;

pub(super) use cutting::is_ours;

use super::Tokenizer;
use crate::base::task::Bar;
use crate::base::{Error, Result, Task, names};
use crate::{bail, err};

/// What the tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Runs of bytes that are joined where they stand together most often (Sennrich et al. 2016, on bytes).
    Bpe,
    /// What stands between white space.
    Words,
    Characters,
}

impl Kind {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "bpe" => Ok(Self::Bpe),
            "words" => Ok(Self::Words),
            "characters" => Ok(Self::Characters),
            _ => Err(err!(Name, "expected a kind of tokenizer, found `{name}`")
                .maybe_hint(names::suggestion(name, ["bpe", "words", "characters"]))),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many tokens there are to be, the special ones included; there are fewer where the texts do not yield them.
    pub vocab: usize,
    /// Tokens that no text becomes, but for one that names them. They have the first ids, and the first of them marks
    /// both the end of a text and its beginning, as in Pythia. `<unk>`, if it is one of them, stands for the words or
    /// characters that are not in the vocabulary.
    pub special: Vec<String>,
    /// What is seen less often than this becomes no token.
    pub min_frequency: u64,
    /// How many digits a token has at most, for BPE. Numbers are cut from the left, and all groups of that many digits
    /// and fewer are tokens, with a space before them and without.
    pub digits: Option<usize>,
    /// Characters that are tokens by themselves, and part of no other but the one with a space before it, for BPE.
    pub apart: Vec<char>,
}

impl Default for Options {
    fn default() -> Self {
        Self { vocab: 4096, special: vec![END.into()], min_frequency: 2, digits: None, apart: Vec::new() }
    }
}

/// The token that separates texts, as GPT-2 and Pythia call it.
pub const END: &str = "<|endoftext|>";

/// What stands for words and characters that are not in the vocabulary, if it is among the special tokens.
const UNKNOWN: &str = "<unk>";

/// The next text to learn from; none when there are no more.
pub type Texts<'a> = &'a mut (dyn FnMut() -> Result<Option<String>> + Send);

/// Learns a tokenizer from texts: the same one from the same texts in the same order.
pub fn train(kind: Kind, texts: Texts, options: &Options, task: &Task) -> Result<Tokenizer> {
    check(kind, options)?;
    let mut reading = Reading::new(texts, task);
    let trained = match kind {
        Kind::Bpe => bpe::train(&mut reading, options, task),
        Kind::Words | Kind::Characters => listed::train(kind, &mut reading, options),
    };
    // A source that fails, or an interruption, ends the texts early; then what was learned is of a part of them.
    match reading.failed {
        Some(error) => Err(error),
        None => trained,
    }
}

fn check(kind: Kind, options: &Options) -> Result<()> {
    if kind != Kind::Bpe && (options.digits.is_some() || !options.apart.is_empty()) {
        return Err(err!(Argument, "expected `digits` and `apart` with kind \"bpe\" only")
            .hint("words are what stands between white space, and characters stand alone anyhow"));
    }
    for (index, name) in options.special.iter().enumerate() {
        // A name of one character is what byte-level tokenizers write a byte with.
        if name.chars().nth(1).is_none() {
            bail!(Argument, "expected special tokens of two characters or more, found {name:?}");
        }
        if name.contains(char::is_whitespace) {
            bail!(Argument, "expected special tokens without white space, found {name:?}");
        }
        if options.special.iter().take(index).any(|other| other == name) {
            bail!(Argument, "expected special tokens that differ, found `{name}` twice");
        }
    }
    Ok(())
}

/// Texts one after the other until there are no more, or until one fails or the user interrupts.
struct Reading<'a> {
    texts: Texts<'a>,
    task: &'a Task,
    bar: Box<dyn Bar>,
    failed: Option<Error>,
}

impl<'a> Reading<'a> {
    fn new(texts: Texts<'a>, task: &'a Task) -> Self {
        Self { texts, task, bar: task.begin("reading texts", None), failed: None }
    }
}

impl Iterator for Reading<'_> {
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
    err!(Argument, "expected text to make a tokenizer of, found none").about("text")
}
