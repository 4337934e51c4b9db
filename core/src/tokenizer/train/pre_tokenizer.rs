//! Splitting a text into the pieces within which BPE joins bytes: words, numbers, punctuation, white space.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, SplitDelimiterBehavior,
};

use super::super::failed;
use super::TokenizerOptions;
use crate::common::*;

/// Largest number of digits in a token; groups of more would fill most of a vocabulary.
pub const MOST_DIGITS: usize = 3;

/// The characters with a special meaning inside of brackets, in Rust's engine or in Oniguruma, which the Python library
/// uses.
const MEANINGFUL: &str = r"\[]^-&~";

/// Makes the split of these options: GPT-2's (Radford et al. 2019) without its list of English contractions, and with
/// white space kept together except for the last space, which goes with the text after it.
pub fn cutting(options: &TokenizerOptions) -> Result<Sequence> {
    let pattern = SplitPattern::Regex(expression(options)?);
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    let letters = ByteLevel::new(false, false, false);
    Ok(Sequence::new(vec![PreTokenizerWrapper::from(split), letters.into()]))
}

fn expression(options: &TokenizerOptions) -> Result<String> {
    let apart = apart(&options.apart)?;
    match options.digits {
        None | Some(1..=MOST_DIGITS) => Ok(written(&apart, options.digits)),
        Some(other) => Err(err!(Argument, "expected between 1 and {MOST_DIGITS} digits in a token, found {other}")
            .hint("without `digits`, numbers of any length may become tokens")
            .about("digits")),
    }
}

/// Writes the regular expression with these characters in its brackets.
fn written(apart: &str, digits: Option<usize>) -> String {
    let alone = if apart.is_empty() { String::new() } else { format!(" ?[{apart}]|") };
    let digits = digits.map_or("+".into(), |most| format!("{{1,{most}}}"));
    format!(r" ?\p{{L}}+|{alone} ?\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}{apart}]+|\s+(?= \S)|\s+")
}

/// Returns whether an expression is one of [`written`], with any characters.
pub fn is_ours(expression: &str) -> bool {
    let alone = expression.strip_prefix(r" ?\p{L}+|").and_then(|rest| Some(rest.split_once(r" ?\p{N}")?.0));
    let Some(alone) = alone else { return false };
    let apart = alone.strip_prefix(" ?[").and_then(|rest| rest.strip_suffix("]|")).unwrap_or_default();
    let mut is_escaped = false;
    let ends_early = apart.chars().any(|letter| {
        let ends = !is_escaped && matches!(letter, '[' | ']');
        is_escaped = !is_escaped && letter == '\\';
        ends
    });
    !ends_early && !is_escaped && (0..=MOST_DIGITS).any(|most| written(apart, (most > 0).then_some(most)) == expression)
}

/// Escapes the characters for the brackets of an expression.
fn apart(letters: &str) -> Result<String> {
    let mut class = String::new();
    for letter in letters.chars() {
        if letter.is_alphanumeric() || letter.is_whitespace() || letter.is_control() {
            return Err(err!(Argument, "expected marks such as brackets and quotes in `apart`, found {letter:?}")
                .hint("letters never share a token with marks, and `digits` sets how numbers are cut")
                .about("apart"));
        }
        if MEANINGFUL.contains(letter) {
            class.push('\\');
        }
        class.push(letter);
    }
    Ok(class)
}

/// Splits a text into pieces, in the letters of bytes.
pub fn pieces(text: &str, cutting: &Sequence) -> Result<Vec<String>> {
    let mut pieces = PreTokenizedString::from(text);
    cutting.pre_tokenize(&mut pieces).map_err(failed)?;
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
    Ok(splits.into_iter().map(|(piece, _, _)| piece.to_string()).collect())
}
