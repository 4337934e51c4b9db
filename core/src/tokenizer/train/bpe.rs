//! Byte-level BPE, trained by the `tokenizers` crate and saved as a standard `tokenizer.json`.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab as Ids};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer as Engine};

use super::super::failed;
use super::super::library::check_stretches;
use super::super::{Tokenizer, alphabet, bytelevel};
use super::forced_joins::ForcedJoins;
use super::pre_tokenizer::{cutting, pieces};
use super::{TextReader, TokenizerOptions, nothing_read};
use crate::base::{Result, Task, parallel};
use crate::err;

/// Bytes counted between two checks for an interruption: some hundredths of a second.
const PORTION: usize = 1 << 18;

/// Approximate bytes of the parts that a long text is counted in, which end at line ends.
const PART: usize = 1 << 15;

/// Largest number of bytes of texts: the crate counts in 32 bits with a sign.
const MOST_BYTES: u64 = i32::MAX as u64;

pub fn train(texts: &mut TextReader, options: &TokenizerOptions, task: &Task) -> Result<Tokenizer> {
    let cut = cutting(options)?;
    let forced = ForcedJoins::new(options)?;
    let least = options.special.len() + 256 + forced.tokens();
    if options.vocab < least {
        let special = options.special.len();
        let groups = forced.tokens();
        return Err(err!(Argument, "expected a vocabulary of {least} tokens or more, found {}", options.vocab)
            .hint(format!("it contains {special} special tokens, 256 bytes and {groups} groups of digits or marks"))
            .about("vocab"));
    }
    let counts = count(texts, &cut)?;
    let learned = learn(counts, &forced, options, task)?;
    assembled(learned, cut, &forced, options)
}

/// Counts the occurrences of each piece in the texts.
fn count(texts: &mut TextReader, cut: &Sequence) -> Result<HashMap<String, u64>> {
    let mut counts = HashMap::new();
    let mut total = 0;
    let mut portion = Vec::new();
    let mut size = 0;
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
                    .hint("train on a part of the text: more hardly changes a tokenizer"));
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
    let found: Vec<Vec<String>> = parallel::try_map(texts.len(), &|at| pieces(texts[at], cut))?;
    for piece in found.into_iter().flatten() {
        *counts.entry(piece).or_insert(0) += 1;
    }
    Ok(())
}

/// Splits a text into parts that end at line ends, as far as possible.
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

/// The result of the crate's trainer, in its own order.
#[derive(Deserialize)]
struct LearnedMerges {
    vocab: HashMap<String, u32>,
    merges: Vec<(String, String)>,
}

/// Joins the most frequent pair of neighbours until the vocabulary is full; of equally frequent pairs the one with the
/// lower ids.
fn learn(
    counts: HashMap<String, u64>,
    forced: &ForcedJoins,
    options: &TokenizerOptions,
    task: &Task,
) -> Result<LearnedMerges> {
    let bar = task.begin("joining bytes to tokens", None);
    bar.note(&format!("{} different pieces", counts.len()));
    let joined: HashMap<String, u64> = counts.into_iter().map(|(piece, count)| (forced.apply(&piece), count)).collect();
    // Every join makes a piece shorter, so there are never more than this; the crate allocates for the stated number.
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

/// Builds the tokenizer, with the forced joins before the learned ones.
fn assembled(
    learned: LearnedMerges,
    cut: Sequence,
    forced: &ForcedJoins,
    options: &TokenizerOptions,
) -> Result<Tokenizer> {
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
