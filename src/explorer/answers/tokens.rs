//! Texts as the model reads them, and the place of each token in what a person typed.

use std::ops::Range;

use serde::Serialize;

use super::super::state::{Dictionary, Explorer};
use crate::base::{Result, Task};
use crate::features::contexts;
use crate::model::batch::Batch;
use crate::model::run::Ask;
use crate::sae::SparseCodes;
use crate::tokenizer::tokens::Tokens;

/// A token: its text, and the UTF-16 units of the characters that it is of, which is how a page counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageToken {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

/// Returns the tokens of a text, as many as the model reads, and how many are left out.
pub fn tokens(explorer: &Explorer, text: &str, task: &Task) -> Result<(Tokens, usize)> {
    let mut tokens = explorer.model.text_tokenizer()?.encode(text, None, task)?;
    let cut = tokens.len().saturating_sub(explorer.model.decoder.config().context);
    tokens.ids.truncate(tokens.ids.len() - cut);
    tokens.offsets.truncate(tokens.ids.len());
    Ok((tokens, cut))
}

/// Returns the places of tokens. A token that is a part of a character covers the character.
pub fn spots(tokens: &Tokens) -> Result<Vec<PageToken>> {
    let text = &tokens.text;
    let mut known = (0, 0);
    // Tokens ascend, so the text is walked through once; a character may be of two tokens, so by a step back at most.
    let mut units = |byte: usize| {
        if byte < known.0 {
            known = (byte, known.1 - text.get(byte..known.0).map_or(0, width));
        } else {
            known = (byte, known.1 + text.get(known.0..byte).map_or(0, width));
        }
        known.1
    };
    let texts = tokens.strings()?;
    let spot = |(name, range): (String, &Range<usize>)| {
        let (start, end) = whole(text, range);
        PageToken { text: name, start: units(start), end: units(end) }
    };
    Ok(texts.into_iter().zip(&tokens.offsets).map(spot).collect())
}

fn width(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Widens a range to whole characters, from the beginning of its first to the end of its last one.
fn whole(text: &str, range: &Range<usize>) -> (usize, usize) {
    let mut start = range.start.min(text.len());
    let mut end = range.end.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (start, end)
}

/// Computes the codes of a dictionary at each of some tokens.
pub fn codes(explorer: &Explorer, of: &Dictionary, ids: &[u32], task: &Task) -> Result<SparseCodes> {
    let batch = Batch::new(vec![ids.to_vec()])?;
    let cache = explorer.model.decoder.cache(&batch, Ask { places: vec![of.place], ..Ask::default() }, task)?;
    contexts::recorded(&explorer.model, &of.sae, of.place, &batch, 0, &cache, task)
}

/// The codes of a feature in a text, in short.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CodeSummary {
    pub largest: f32,
    /// The token where the code is largest, among those where the feature is active.
    pub at: usize,
    /// Number of tokens at which the feature is active.
    pub count: usize,
    pub sum: f64,
}

/// Returns the features that are active at any token of a text but for some first ones, in order, each with its
/// strength.
pub fn strengths(codes: &SparseCodes, without_first: usize) -> Vec<(u32, CodeSummary)> {
    let mut all: Vec<(u32, usize, f32)> = Vec::with_capacity(codes.count());
    for row in without_first..codes.rows() {
        let (features, codes) = codes.row(row);
        all.extend(features.iter().zip(codes).map(|(feature, code)| (*feature, row, *code)));
    }
    all.sort_by_key(|(feature, ..)| *feature);
    let of = |one: &[(u32, usize, f32)]| {
        let (feature, at, largest) = one.iter().copied().reduce(|a, b| if b.2 > a.2 { b } else { a })?;
        // Where it is not active its code is 0.
        let largest = if one.len() + without_first < codes.rows() { largest.max(0.0) } else { largest };
        let sum = one.iter().map(|(.., code)| f64::from(*code)).sum();
        Some((feature, CodeSummary { largest, at, count: one.len(), sum }))
    };
    all.chunk_by(|a, b| a.0 == b.0).filter_map(of).collect()
}

/// Returns the text of a token as lists show it.
pub fn name(explorer: &Explorer, id: u32) -> String {
    contexts::name(&explorer.model, id)
}
