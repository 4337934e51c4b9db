//! Byte-level tokenizers from a vocabulary and merges, as in GGUF files and the oldest folders.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Vocab as Ids};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Engine};

use super::failed;
use super::splits::Cut;
use super::vocab::{Vocab, VocabEntry};
use super::{alphabet, limits};
use crate::common::*;

/// Makes a token written in the letters of bytes.
pub fn piece(name: &str) -> VocabEntry {
    VocabEntry { name: name.into(), bytes: alphabet::bytes(name), special: false }
}

/// Returns the decoder of tokens in the letters of bytes.
pub fn decoder() -> ByteLevel {
    ByteLevel::new(false, false, false)
}

/// Splits texts in the given way and joins the bytes of each piece by the merges, each of which is `a b`. The tokens in
/// `whole` are matched before that.
pub fn engine(vocab: &Vocab, merges: &[String], cut: &Cut, whole: &[&str]) -> Result<Engine> {
    let ids: Ids = vocab.iter().map(|(id, piece)| (piece.name.clone(), id)).collect();
    let model = BPE::builder()
        .vocab_and_merges(ids, pairs(vocab, merges)?)
        .ignore_merges(cut.whole_first)
        .build()
        .map_err(failed)?;
    let mut steps = splits(cut)?;
    steps.push(ByteLevel::new(false, false, false).into());
    limits::added(whole.iter().map(|name| name.len()).sum())?;
    let mut engine = Engine::new(model);
    engine.with_pre_tokenizer(Some(Sequence::new(steps)));
    let whole = whole.iter().map(|name| AddedToken::from(*name, false).normalized(false));
    engine.add_tokens(whole).map_err(failed)?;
    Ok(engine)
}

/// Returns the steps that split texts in the given way.
pub fn splits(cut: &Cut) -> Result<Vec<PreTokenizerWrapper>> {
    let step = |expression: &&str| -> Result<PreTokenizerWrapper> {
        let pattern = SplitPattern::Regex(expression.to_string());
        Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?.into())
    };
    cut.expressions.iter().map(step).collect()
}

/// Returns the two tokens of every merge; both and their join must be tokens.
pub fn pairs(vocab: &Vocab, merges: &[String]) -> Result<Vec<(String, String)>> {
    let names: HashSet<&str> = vocab.iter().map(|(_, piece)| piece.name.as_str()).collect();
    let pair = |(index, merge): (usize, &String)| {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            err!(Format, "merge {index}: expected two tokens with a space between them, found `{merge}`")
        })?;
        let joined = format!("{left}{right}");
        if let Some(missing) = [left, right, &joined].into_iter().find(|name| !names.contains(name)) {
            bail!(Format, "merge {index}: expected tokens of the vocabulary, found `{missing}`");
        }
        Ok((left.to_string(), right.to_string()))
    };
    merges.iter().enumerate().map(pair).collect()
}
