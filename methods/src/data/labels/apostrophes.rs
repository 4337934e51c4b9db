//! The meaning of an apostrophe: a possessive, a contraction, a plural's possessive, or a quotation mark.

use super::{Letter, prefixed, run};

/// The meaning of a single mark, judged by its context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// A kind of apostrophe, from 1.
    Apostrophe(usize),
    Opens,
    Closes,
    Nothing,
}

/// The distance in characters within which the end of a quotation is searched.
const AHEAD: usize = 500;

const POSSESSIVE: Sense = Sense::Apostrophe(1);
const CONTRACTION: Sense = Sense::Apostrophe(2);
const PLURAL: Sense = Sense::Apostrophe(3);

/// Words before `'s` that make it "is", "has" or "us".
const SHORTENED: [&str; 22] = [
    "it",
    "he",
    "she",
    "that",
    "this",
    "there",
    "here",
    "what",
    "who",
    "where",
    "when",
    "how",
    "why",
    "let",
    "everything",
    "something",
    "nothing",
    "anything",
    "everyone",
    "someone",
    "so",
    "one",
];

/// Words whose beginning is elided.
const CLIPPED: [&str; 16] = [
    "tis", "twas", "twere", "twill", "twould", "em", "til", "till", "cause", "bout", "round", "neath", "ere", "n",
    "gainst", "um",
];

/// Words whose end is elided, besides those in `-in'`.
const CUT: [&str; 11] = ["o", "an", "th", "wi", "ol", "t", "mo", "lil", "ha", "fra", "ca"];

/// Returns the meaning of the mark at `at`; `open` tells whether a single quotation is open there.
pub fn sense(letters: &[Letter], at: usize, open: bool) -> Sense {
    let sign = |at: Option<usize>| at.and_then(|at| letters.get(at)).map(|letter| letter.sign);
    let before = sign(at.checked_sub(1));
    let after = sign(Some(at + 1));
    let curly = sign(Some(at)) != Some('\'');
    if !curly && run(letters, at) > 1 {
        return Sense::Nothing;
    }
    let in_word = |sign: Option<char>| sign.is_some_and(char::is_alphanumeric);
    if sign(Some(at)) == Some('‘') {
        return if CLIPPED.contains(&word_after(letters, at).as_str()) { CONTRACTION } else { Sense::Opens };
    }
    match (in_word(before), in_word(after)) {
        (true, true) => within_word(letters, at, curly),
        (true, false) if open && closes_later(letters, at) => PLURAL,
        (true, false) if open => Sense::Closes,
        (true, false) => behind_word(&word_before(letters, at)),
        (false, true) => before_word(letters, at, curly),
        _ if open => Sense::Closes,
        _ if !curly && after.is_some_and(|sign| !sign.is_whitespace()) => Sense::Opens,
        _ => Sense::Nothing,
    }
}

fn within_word(letters: &[Letter], at: usize, curly: bool) -> Sense {
    let after = word_after(letters, at);
    match after.as_str() {
        "s" if SHORTENED.contains(&word_before(letters, at).as_str()) => CONTRACTION,
        "s" => POSSESSIVE,
        _ if !curly && prefixed(letters, at) => Sense::Opens,
        _ => CONTRACTION,
    }
}

fn behind_word(word: &str) -> Sense {
    if word.ends_with(['s', 'x', 'z']) {
        PLURAL
    } else if word.ends_with("in") || CUT.contains(&word) {
        CONTRACTION
    } else {
        Sense::Nothing
    }
}

fn before_word(letters: &[Letter], at: usize, curly: bool) -> Sense {
    let word = word_after(letters, at);
    // `'90s`
    let decade = word.strip_suffix('s').is_some_and(|digits| digits.len() == 2 && digits.parse::<u8>().is_ok());
    if decade || CLIPPED.contains(&word.as_str()) {
        CONTRACTION
    } else if curly {
        Sense::Nothing
    } else {
        Sense::Opens
    }
}

/// Returns whether a mark after an `s` in an open quotation leaves it open: a word follows, and another mark closes it
/// after punctuation or before it.
fn closes_later(letters: &[Letter], at: usize) -> bool {
    let sign = |at: usize| letters.get(at).map(|letter| letter.sign);
    let word_follows = sign(at + 1) == Some(' ') && sign(at + 2).is_some_and(char::is_alphabetic);
    if !word_follows || !word_before(letters, at).ends_with('s') {
        return false;
    }
    (at + 1..letters.len().min(at + AHEAD)).any(|at| {
        let mark = matches!(sign(at), Some('\'' | '’'));
        let blank_behind = sign(at + 1).is_none_or(|sign| !sign.is_alphanumeric());
        let punctuated = sign(at - 1).is_some_and(|sign| ".,;:!?".contains(sign))
            || sign(at + 1).is_some_and(|sign| ".,;:!?)".contains(sign));
        mark && blank_behind && punctuated
    })
}

fn word_before(letters: &[Letter], at: usize) -> String {
    let word = letters.iter().take(at).rev().map(|letter| letter.sign).take_while(|sign| sign.is_alphanumeric());
    let backwards: Vec<char> = word.collect();
    backwards.iter().rev().collect::<String>().to_lowercase()
}

fn word_after(letters: &[Letter], at: usize) -> String {
    let word = letters.iter().skip(at + 1).map(|letter| letter.sign).take_while(|sign| sign.is_alphanumeric());
    word.collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::tests::apostrophes;

    #[test]
    fn each_apostrophe_has_its_kind() {
        assert_eq!(apostrophes("Anna's dog doesn't see that it's the dogs' bowl"), "pccP");
        assert_eq!(apostrophes("‘It isn’t his,’ she said. The houses’ doors"), "qcqP");
        assert_eq!(apostrophes("'It isn't the dogs' bowl,' she said"), "qcPq");
        assert_eq!(apostrophes("'twas in the '90s, goin' o'er"), "cccc");
        assert_eq!(apostrophes("x = ['a', b'c', ',', '']"), "qqqqqq--");
        assert_eq!(apostrophes("5' tall"), "-");
        assert_eq!(apostrophes("'never closed"), "-");
    }
}
