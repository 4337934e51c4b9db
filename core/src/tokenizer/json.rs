//! `tokenizer.json`: what is read here in addition to the `tokenizers` crate, and what is checked before the crate
//! reads it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::Tokenizer;
use super::failed;
use super::library::Library;
use super::limits::{self, Limits, ModelProperties, limits};
use super::saving::Origin;
use super::spelling::Spelling;
use super::template::added;
use super::vocab::Vocab;
use crate::base::budget::Budget;
use crate::common::*;

/// The normalizers and pre-tokenizers that are accepted. No decoder uses others, and with some of them (Strip,
/// Precompiled, FixedLength) some texts crash the crate.
const NORMALIZERS: [&str; 11] = [
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "Replace",
    "Prepend",
    "ByteLevel",
    "BertNormalizer",
    "StripAccents",
    "Nmt",
];
const PRE_TOKENIZERS: [&str; 10] = [
    "ByteLevel",
    "Split",
    "Metaspace",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "UnicodeScripts",
];

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: TokenizerModel,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct TokenizerModel {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    vocab: Entries,
    #[serde(default)]
    merges: Option<Vec<Pair>>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. The name of an added token in a text becomes that token, as in the library that these
    /// files are for.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let file: TokenizerFile = json::read(bytes, |e| err!(Format, "expected a tokenizer.json: {e}"))?;
        // The crate reads it three times: as parts, as values, and as a model.
        memory::check(3 * json::size(bytes), || "the tokenizer".into())?;
        let spelling = Spelling::of(&file.decoder)?;
        let limits = check(&file, &spelling)?;
        let (front, back) = added(&file.post_processor).map_err(|e| e.within("post_processor"))?;
        // As text, which the crate reads with code of its own; `from_bytes` is compiled anew where it is called.
        let text = std::str::from_utf8(bytes).map_err(|e| err!(Format, "expected a tokenizer.json: {e}"))?;
        let engine: tokenizers::Tokenizer = text.parse().map_err(failed)?;
        for token in &file.added_tokens {
            // The crate continues from the last id and ignores the file's.
            let found = engine.token_to_id(&token.content);
            if found.is_some_and(|found| found != token.id) {
                let content = &token.content;
                bail!(Format, "expected the added token `{content}` to follow on the others, found id {}", token.id);
            }
        }
        let vocab = Arc::new(vocab(file, &spelling)?);
        for id in front.iter().chain(&back) {
            vocab.piece(*id).map_err(|e| e.within("post_processor"))?;
        }
        let split = Library::new(engine, vocab.clone(), spelling.byte_level, limits)?;
        Ok(Self { front, back, ..Self::new(vocab, Arc::new(split), Origin::Json(bytes.to_vec())) })
    }
}

/// Lists all tokens: those of the model, except for the ones that were added again, and the added ones.
fn vocab(file: TokenizerFile, spelling: &Spelling) -> Result<Vocab> {
    let again: HashSet<&str> = file.added_tokens.iter().map(|token| token.content.as_str()).collect();
    let own = file.model.vocab.0.into_iter().filter(|(name, _)| !again.contains(name.as_str()));
    // The decoder may turn a name into a longer text.
    let mut budget = Budget::of_header();
    let own = own.map(|(name, id)| {
        let piece = spelling.piece(name);
        budget.take(piece.bytes.len() as u128, || "the texts of the tokens".into())?;
        Ok((id, piece))
    });
    let own = own.collect::<Result<Vec<_>>>()?;
    let added = file.added_tokens.into_iter().map(|token| (token.id, spelling.added(token.content, token.special)));
    Vocab::new(own.into_iter().chain(added), spelling.leading_space)
}

/// Refuses what the crate would silently accept, or crash on.
fn check(file: &TokenizerFile, spelling: &Spelling) -> Result<Limits> {
    let model = &file.model;
    limits::added(file.added_tokens.iter().map(|token| token.content.len()).sum())?;
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(err!(Format, "expected a tokenizer without dropout, found one that splits at random")
            .hint("set `dropout` to null in the tokenizer.json"));
    }
    known(&file.normalizer, &NORMALIZERS).map_err(|e| e.within("normalizer"))?;
    known(&file.pre_tokenizer, &PRE_TOKENIZERS).map_err(|e| e.within("pre_tokenizer"))?;
    let highest = model.vocab.0.iter().map(|(_, id)| *id).chain(file.added_tokens.iter().map(|token| token.id)).max();
    if let Some(id) = highest.filter(|id| *id > i32::MAX as u32) {
        bail!(Format, "expected token ids below {}, found {id}", i32::MAX);
    }
    if let Some(merges) = &model.merges {
        let names: HashMap<&str, u32> = model.vocab.0.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        joins(merges, &names, model.continuing_subword_prefix.as_deref().unwrap_or_default())?;
        falls_back(model, &names, spelling)?;
    }
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix, &model.unk_token];
    let joining = ModelProperties {
        // A model with merges is BPE, even if the file does not state it.
        kind: model.kind.as_deref().or(model.merges.as_ref().map(|_| "BPE")),
        longest: model.vocab.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0),
        affixes: affixes.map(Option::as_deref),
        longest_word: model.max_input_chars_per_word,
    };
    limits(&file.normalizer, &file.pre_tokenizer, &joining)
}

/// Checks that every merge joins two tokens into a third.
fn joins(merges: &[Pair], names: &HashMap<&str, u32>, prefix: &str) -> Result<()> {
    for (index, Pair(left, right)) in merges.iter().enumerate() {
        let rest = right.strip_prefix(prefix).unwrap_or(right);
        let joined = format!("{left}{rest}");
        let unprefixed = !prefix.is_empty() && rest.len() == right.len();
        let missing = [left, right, &joined].into_iter().find(|name| !names.contains_key(name.as_str()));
        if let Some(missing) = missing {
            bail!(Format, "merge {index}: expected tokens of the vocabulary, found `{missing}`");
        }
        if unprefixed {
            bail!(Format, "merge {index}: expected `{right}` to begin with `{prefix}`");
        }
    }
    Ok(())
}

/// Refuses a vocabulary with gaps and without an unknown token, with which the crate would drop parts of texts.
fn falls_back(model: &TokenizerModel, names: &HashMap<&str, u32>, spelling: &Spelling) -> Result<()> {
    let bytes = || (0..=255_u8).all(|byte| names.contains_key(format!("<0x{byte:02X}>").as_str()));
    if model.unk_token.is_some() || spelling.byte_level || model.byte_fallback && bytes() {
        return Ok(());
    }
    Err(err!(Format, "expected an `unk_token`, or a token for every byte, found neither")
        .hint("characters that are not in the vocabulary would silently be dropped from texts"))
}

/// Refuses a part of the file of another kind than these.
fn known(part: &Value, names: &[&str]) -> Result<()> {
    if part.is_null() {
        return Ok(());
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("no type");
    if kind == "Sequence" {
        let list = ["normalizers", "pretokenizers"].into_iter().find_map(|key| part.get(key)?.as_array());
        return list.into_iter().flatten().try_for_each(|inner| known(inner, names));
    }
    if !names.contains(&kind) {
        bail!(Format, "expected Sequence, {}, found {kind}", names.join(", "));
    }
    match kind {
        // With either of these some texts crash the crate.
        "Prepend" if part.get("prepend").and_then(Value::as_str).is_none_or(str::is_empty) => {
            bail!(Format, "expected a text to prepend, found none")
        }
        "Replace" if matches_nothing(&part["pattern"])? => {
            bail!(Format, "expected a text to replace, found a pattern that matches nothing at all: {part}")
        }
        _ => Ok(()),
    }
}

/// Returns whether a pattern matches an empty text, and so between any two characters.
fn matches_nothing(pattern: &Value) -> Result<bool> {
    let pattern: SplitPattern = serde_json::from_value(pattern.clone())
        .map_err(|_| err!(Format, "expected a String or a Regex as pattern, found {pattern}"))?;
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    Ok(split.regex.find_iter("").next().is_some())
}

/// Names and ids, as a map or, for Unigram models, as a list of names with scores.
struct Entries(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TokensVisitor;
        impl<'de> Visitor<'de> for TokensVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tokens to ids, or a list of tokens with their scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, IgnoredAny)) = list.next_element::<(String, IgnoredAny)>()? {
                    entries.push((name, entries.len() as u32));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_any(TokensVisitor)
    }
}

/// A merge: `"a b"` in older files, `["a", "b"]` in newer ones.
struct Pair(String, String);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Pair;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("two tokens with a space between them, or a list of two")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pair, E> {
                let (left, right) = text.split_once(' ').ok_or_else(|| E::custom("a merge of one token"))?;
                Ok(Pair(left.into(), right.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
                let mut next = || list.next_element()?.ok_or_else(|| serde::de::Error::custom("a merge of one token"));
                let pair = Pair(next()?, next()?);
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(pair),
                    Some(_) => Err(serde::de::Error::custom("a merge of more than two tokens")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
