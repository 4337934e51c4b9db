//! Pre-tokenizers that the vocabulary of a byte-level GGUF file does not fit. Merges are found within the pieces into
//! which a vocabulary's own pre-tokenizer cuts texts, so that none of them joins what it cuts apart.

use tokenizers::pre_tokenizers::sequence::Sequence;

use super::splits::{self, Cut};
use super::train::pre_tokenizer::pieces;
use super::{alphabet, bytelevel};
use crate::common::*;

/// Number of merges that are looked at, evenly spread over all of them.
const LOOKED_AT: usize = 1 << 12;

/// A name is refused if more than one in so many of the texts that merges join is cut. Their own pre-tokenizers cut 2 in
/// 10,000 at most of thirteen published vocabularies, and others 30 to 2,400, unless they cut alike.
const ONE_IN: usize = 200;

/// Number of texts that are cut below which they prove nothing.
const FEWEST: usize = 10;

/// Refuses a pre-tokenizer that cuts what merges join.
pub fn check(pre: &str, cut: &Cut, merges: &[String]) -> Result<()> {
    let step = merges.len().div_ceil(LOOKED_AT).max(1);
    let texts: Vec<String> = merges.iter().step_by(step).filter_map(|merge| joined(merge)).collect();
    let (count, first) = apart(cut, &texts, texts.len())?;
    let Some(first) = first.filter(|_| count >= FEWEST && count * ONE_IN > texts.len()) else { return Ok(()) };
    let mut fits = String::new();
    for (name, other) in splits::all() {
        if apart(other, &texts, 1)?.0 == 0 {
            fits = format!("; `{name}` cuts none");
            break;
        }
    }
    let all = texts.len();
    Err(err!(
        Format,
        "expected a pre-tokenizer in `pre` that leaves in one piece what merges join, found `{pre}`, which cuts {count} \
         of {all} such texts, as {first:?}{fits}"
    )
    .hint("the pre-tokenizer's name does not fit the tokenizer: convert the model again"))
}

/// Counts the texts that are cut, up to `most` of them, and returns the first.
fn apart<'t>(cut: &Cut, texts: &'t [String], most: usize) -> Result<(usize, Option<&'t String>)> {
    let cutting = Sequence::new(bytelevel::splits(cut)?);
    let mut count = 0;
    let mut first = None;
    for text in texts {
        if count == most {
            break;
        }
        if pieces(text, &cutting)?.len() > 1 {
            count += 1;
            first = first.or(Some(text));
        }
    }
    Ok((count, first))
}

/// Returns the text that a merge joins: one in ASCII of three bytes at least, since the marks of other scripts are cut in
/// ways of their own, and a part of a piece may be cut by itself.
fn joined(merge: &str) -> Option<String> {
    let (left, right) = merge.split_once(' ')?;
    let bytes = alphabet::bytes(&format!("{left}{right}"));
    if bytes.len() > 2 && bytes.is_ascii() { String::from_utf8(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pre: &str, texts: &[&str]) -> Result<()> {
        let spelled = |text: &str| text.bytes().map(alphabet::letter).collect::<String>();
        let merge = |text: &&str| {
            let (first, rest) = text.split_at(text.chars().next().unwrap().len_utf8());
            format!("{} {}", spelled(first), spelled(rest))
        };
        check(pre, splits::cut(pre).unwrap(), &texts.iter().map(merge).collect::<Vec<_>>())
    }

    #[test]
    fn a_pre_tokenizer_is_refused_that_cuts_what_merges_join() {
        // Years with a space before them are pieces of GPT-2's, and digits alone those of Llama 3's.
        let years: Vec<String> = (1990..2020).map(|year| format!(" {year}")).collect();
        let mut texts: Vec<&str> = years.iter().map(String::as_str).collect();
        assert!(checked("gpt-2", &texts).is_ok());
        let error = checked("llama-bpe", &texts).unwrap_err();
        assert_eq!(
            error.message,
            "expected a pre-tokenizer in `pre` that leaves in one piece what merges join, found `llama-bpe`, which cuts 30 \
             of 30 such texts, as \" 1990\"; `gpt-2` cuts none"
        );
        texts.push("no one piece");
        assert!(checked("gpt-2", &texts).is_ok());
        // A few are no proof, nor what is not in ASCII.
        assert!(checked("llama-bpe", &texts[..FEWEST - 1]).is_ok());
        assert!(checked("llama-bpe", &["\u{e9}1990"; 30]).is_ok());
    }

    #[test]
    fn many_merges_are_looked_at_here_and_there() {
        let texts: Vec<String> = (0..3 * LOOKED_AT).map(|number| format!("w{}", "x".repeat(2 + number % 9))).collect();
        let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(checked("gpt-2", &texts).is_ok());
        // One in a hundred is too many, one in a thousand is not.
        texts.iter_mut().step_by(999).for_each(|text| *text = "a.b");
        assert!(checked("gpt-2", &texts).is_ok());
        texts.iter_mut().step_by(99).for_each(|text| *text = "a.b");
        assert!(checked("gpt-2", &texts).is_err());
    }
}
