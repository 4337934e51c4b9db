//! Byte-level BPE, learned by the `tokenizers` crate and written as the `tokenizer.json` that everybody reads.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab as Ids};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer as Engine};

use super::super::library::{check_stretches, failed};
use super::super::{Tokenizer, alphabet, bytelevel};
use super::cutting::{cutting, pieces};
use super::forced::Forced;
use super::{TextReader, TokenizerOptions, nothing_read};
use crate::base::{Result, Task};
use crate::err;

/// How much text is counted between two questions whether to stop: some hundredths of a second's work.
const PORTION: usize = 1 << 18;

/// A long text is counted in parts of about this many bytes, cut where a line ends.
const PART: usize = 1 << 15;

/// The crate counts in 32 bits with a sign.
const MOST_BYTES: u64 = i32::MAX as u64;

pub fn train(texts: &mut TextReader, options: &TokenizerOptions, task: &Task) -> Result<Tokenizer> {
    let (cut, forced) = (cutting(options)?, Forced::new(options)?);
    let least = options.special.len() + 256 + forced.tokens();
    if options.vocab < least {
        return Err(err!(Argument, "expected a vocabulary of {least} tokens or more, found {}", options.vocab).hint(
            format!(
                "{} special tokens, 256 bytes and {} groups of digits or marks have to be in it",
                options.special.len(),
                forced.tokens()
            ),
        ));
    }
    let counts = count(texts, &cut)?;
    let learned = learn(counts, &forced, options, task)?;
    assembled(learned, cut, &forced, options)
}

/// How often each piece stands in the texts.
fn count(texts: &mut TextReader, cut: &Sequence) -> Result<HashMap<String, u64>> {
    let (mut counts, mut total) = (HashMap::new(), 0);
    let (mut portion, mut size) = (Vec::new(), 0);
    loop {
        let text = texts.next();
        let done = text.is_none();
        if let Some(text) = text {
            check_stretches(&text)?;
            size += text.len();
            portion.push(text);
        }
        if size >= PORTION || done {
            total += size as u64;
            if total > MOST_BYTES {
                return Err(err!(Argument, "expected at most {MOST_BYTES} bytes of text, found more")
                    .hint("a part of the text makes as good a tokenizer"));
            }
            let parts: Vec<&str> = portion.iter().flat_map(|text| parts(text)).collect();
            for group in parts.chunks(PORTION / PART) {
                texts.task.check()?;
                add(&mut counts, group, cut)?;
            }
            (portion, size) = (Vec::new(), 0);
        }
        if done {
            return if counts.is_empty() { Err(nothing_read()) } else { Ok(counts) };
        }
    }
}

/// Adds the pieces of some texts. Counts are sums of whole numbers, so their order does not matter.
fn add(counts: &mut HashMap<String, u64>, texts: &[&str], cut: &Sequence) -> Result<()> {
    let found: Vec<Vec<String>> = texts.par_iter().map(|text| pieces(text, cut)).collect::<Result<_>>()?;
    for piece in found.into_iter().flatten() {
        *counts.entry(piece).or_insert(0) += 1;
    }
    Ok(())
}

/// A text in parts that end with a line, as far as its lines allow.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let from = rest.ceil_char_boundary(PART.min(rest.len()));
        let end = rest.get(from..)?.find('\n').map_or(rest.len(), |at| from + at + 1);
        let (part, after) = rest.split_at_checked(end)?;
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// What the crate's trainer has learned, in its own order.
#[derive(Deserialize)]
struct Learned {
    vocab: HashMap<String, u32>,
    merges: Vec<(String, String)>,
}

/// Joins what stands together most often until the vocabulary is full; of two that stand together as often it takes
/// the one with the lower ids.
fn learn(counts: HashMap<String, u64>, forced: &Forced, options: &TokenizerOptions, task: &Task) -> Result<Learned> {
    let bar = task.begin("joining bytes to tokens", None);
    bar.note(&format!("{} different pieces", counts.len()));
    let joined: HashMap<String, u64> = counts.into_iter().map(|(piece, count)| (forced.apply(&piece), count)).collect();
    // Every join makes a piece shorter, so there are never more than this, and the crate makes room for all that it is
    // asked for.
    let most = options.special.len() + 256 + forced.tokens() + joined.keys().map(String::len).sum::<usize>();
    let trainer = BpeTrainer::builder()
        .vocab_size(options.vocab.min(most))
        .min_frequency(options.min_frequency)
        .show_progress(false)
        .special_tokens(options.special.iter().map(|name| AddedToken::from(name.as_str(), true)).collect())
        .initial_alphabet((0..=255).map(alphabet::letter).chain(forced.letters()).collect())
        .build();
    task.apart(move || {
        let mut model = BPE::default();
        let counts = joined.into_iter().map(|(piece, count)| (piece.into(), count)).collect();
        trainer.do_train(&counts, &mut model).map_err(failed)?;
        let written = serde_json::to_value(&model).map_err(|e| err!(Bug, "a BPE that cannot be written: {e}"))?;
        serde_json::from_value(written).map_err(|e| err!(Bug, "a BPE that cannot be read: {e}"))
    })
}

/// The tokenizer, with the joins that are forced before those that were learned.
fn assembled(learned: Learned, cut: Sequence, forced: &Forced, options: &TokenizerOptions) -> Result<Tokenizer> {
    let vocab: Ids = learned.vocab.into_iter().map(|(name, id)| (forced.spelled(&name), id)).collect();
    let own = learned.merges.iter().map(|(left, right)| (forced.spelled(left), forced.spelled(right)));
    let merges = forced.merges().chain(own).collect();
    let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(failed)?;
    let mut engine = Engine::new(model);
    engine.with_pre_tokenizer(Some(cut));
    engine.with_decoder(Some(bytelevel::decoder()));
    let special = options.special.iter().map(|name| AddedToken::from(name.as_str(), true).normalized(false));
    engine.add_special_tokens(special).map_err(failed)?;
    let json = engine.to_string(false).map_err(failed)?;
    let tokenizer = Tokenizer::from_json(json.as_bytes())?;
    let mark = options.special.first().map(|name| tokenizer.vocab().named(name)).transpose()?;
    tokenizer.marked(mark, mark)
}
