//! Tokenizers of whole words and of characters: the most frequent ones, counted by the `tokenizers` crate.

use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::{AddedToken, Model, Trainer};

use super::super::Tokenizer;
use super::super::failed;
use super::{TextReader, TokenizerKind, TokenizerOptions, UNKNOWN, nothing_read};
use crate::base::Result;

/// Trains on the most frequent words or characters, in the order of their counts, and for equal counts of their
/// letters.
pub fn train(texts: &mut TextReader, options: &TokenizerOptions) -> Result<Tokenizer> {
    let mut trainer = WordLevelTrainer::builder()
        .vocab_size(options.vocab)
        .min_frequency(options.min_frequency)
        .show_progress(false)
        .special_tokens(options.special.iter().map(|name| AddedToken::from(name.as_str(), true)).collect())
        .build()
        .map_err(|e| failed(e.to_string().into()))?;
    let special = options.special.clone();
    let kind = options.kind;
    // The name of a special token in a text does not count as a word.
    let counted = move |word: &&str| !special.iter().any(|name| name == word);
    trainer
        .feed(texts, |text| {
            Ok(match kind {
                TokenizerKind::Characters => text.chars().map(String::from).collect(),
                _ => text.split_whitespace().filter(&counted).map(String::from).collect(),
            })
        })
        .map_err(failed)?;
    let mut model = WordLevel::default();
    trainer.train(&mut model).map_err(failed)?;
    let mut vocab: Vec<(u32, String)> = model.get_vocab().into_iter().map(|(name, id)| (id, name)).collect();
    vocab.sort_unstable();
    if vocab.len() <= options.special.len() {
        return Err(nothing_read());
    }
    let names = vocab.into_iter().map(|(_, name)| name).collect();
    let unknown = options.special.iter().find(|name| *name == UNKNOWN).map(String::as_str);
    let mark = options.special.iter().find(|name| *name != UNKNOWN).map(String::as_str);
    let tokenizer = match options.kind {
        TokenizerKind::Characters => Tokenizer::characters(names, mark, unknown)?,
        _ => Tokenizer::words(names, mark, unknown)?,
    };
    let bos = tokenizer.bos();
    tokenizer.marked(bos, bos)
}
