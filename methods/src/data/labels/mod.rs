//! Labels of real text, found by rules: brackets, quotations, apostrophes, numbers, lines, words for women and men.
//!
//! The columns have the same names and meaning as in the labelled language. The labels of that language are ground
//! truth by construction; those of real text are guessed from the context, and wrong in rare cases: a quotation over
//! several paragraphs, an unclosed bracket, an unlisted elision. Only words for women and men and pronouns are known of
//! people, and no names.

mod apostrophes;
mod brackets;
mod gender;
mod lines;
mod numerals;
mod quotes;

use std::sync::LazyLock;

use crate::common::*;
use crate::tokenizer::labels::{Column, ColumnKind, DecidingByte, Mark, Marks};

/// The columns, in the order of [`columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Col {
    /// The number of open round brackets, both brackets of a pair included.
    Depth,
    /// The kind of the bracket that was opened last.
    Bracket,
    /// The number of open brackets of any kind.
    BracketDepth,
    /// The distance to the innermost open round bracket.
    SinceOpen,
    /// The kind of the quotation around the token, the marks included.
    Quote,
    QuoteDepth,
    /// The role of a quotation mark: whether it opens or closes.
    QuoteSign,
    /// The kind of an apostrophe.
    Apostrophe,
    Numeral,
    /// The first token of a line, apart from blanks.
    LineStart,
    /// The indentation of the line, in columns.
    Indent,
    Gender,
    /// The pronoun that comes next.
    PronounNext,
}

const BRACKETS: [&str; 3] = ["round", "square", "curly"];
const QUOTES: [&str; 2] = ["double", "single"];
const SIGNS: [&str; 2] = ["open", "close"];
const APOSTROPHES: [&str; 4] = ["possessive", "contraction", "plural", "quote"];
const NUMERALS: [&str; 2] = ["year", "number"];
const GENDERS: [&str; 2] = ["female", "male"];

static COLUMNS: LazyLock<Arc<[Column]>> = LazyLock::new(|| {
    let column = |name, values| Column { name, of: DecidingByte::First, values };
    let kind = |name, kinds: &[&'static str]| column(name, ColumnKind::Kind(kinds.to_vec()));
    [
        column("depth", ColumnKind::Number),
        kind("bracket", &BRACKETS),
        column("bracket_depth", ColumnKind::Number),
        column("since_open", ColumnKind::Since),
        kind("quote", &QUOTES),
        column("quote_depth", ColumnKind::Number),
        kind("quote_sign", &SIGNS),
        kind("apostrophe", &APOSTROPHES),
        kind("numeral", &NUMERALS),
        kind("line_start", &["line_start"]),
        column("indent", ColumnKind::Number),
        kind("gender", &GENDERS),
        Column { name: "pronoun_next", of: DecidingByte::Last, values: ColumnKind::Kind(gender::PRONOUNS.to_vec()) },
    ]
    .into()
});

/// Returns all columns; a mark refers to one by its index.
pub fn columns() -> Arc<[Column]> {
    COLUMNS.clone()
}

/// Returns the labels of a text.
pub fn label(text: &str) -> Result<Marks> {
    if u32::try_from(text.len()).is_err() {
        return Err(err!(Argument, "expected a text of less than 4 GiB to label, found {} bytes", text.len())
            .hint("label its paragraphs one by one"));
    }
    let mut pen = Pen { marks: Vec::new() };
    let letters: Vec<Letter> = text.char_indices().map(|(at, sign)| Letter { at, sign }).collect();
    brackets::mark(&letters, &mut pen);
    for paragraph in lines::paragraphs(&letters) {
        quotes::mark(paragraph, &mut pen);
    }
    numerals::mark(text, &mut pen);
    lines::mark(text, &mut pen);
    gender::mark(text, &mut pen);
    Ok(Marks { columns: columns(), marks: pen.marks })
}

/// A character and the byte where it begins.
#[derive(Debug, Clone, Copy)]
struct Letter {
    at: usize,
    sign: char,
}

impl Letter {
    fn end(&self) -> usize {
        self.at + self.sign.len_utf8()
    }
}

struct Pen {
    marks: Vec<Mark>,
}

impl Pen {
    fn mark(&mut self, column: Col, start: usize, end: usize, value: usize) {
        self.marks.push(Mark { column: column as u16, start: start as u32, end: end as u32, value: value as u32 });
    }
}

/// Two matching signs, by their character positions, and their kind, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignPair {
    open: usize,
    close: usize,
    kind: usize,
}

/// Sorts pairs in the order in which they open, each with its depth. No two of them cross.
fn nested(mut pairs: Vec<SignPair>) -> Vec<(SignPair, usize)> {
    pairs.sort_unstable_by_key(|pair| pair.open);
    let mut around: Vec<usize> = Vec::new();
    let depth = |pair: SignPair| {
        around.retain(|close| *close > pair.close);
        around.push(pair.close);
        (pair, around.len())
    };
    pairs.into_iter().map(depth).collect()
}

/// Returns the number of equal signs in a row at a place, up to three: three delimit a string in a program, not a
/// quotation.
fn run(letters: &[Letter], at: usize) -> usize {
    let Some(sign) = letters.get(at).map(|letter| letter.sign) else { return 0 };
    let same = |letter: &&Letter| letter.sign == sign;
    let before = letters.iter().take(at).rev().take(2).take_while(same).count();
    before + letters.iter().skip(at).take(3).take_while(same).count()
}

/// Returns whether the mark follows only the prefix of a string literal, as in `b"bytes"`.
fn prefixed(letters: &[Letter], at: usize) -> bool {
    let mut before = letters.iter().take(at).rev().map(|letter| letter.sign).take_while(|sign| sign.is_alphanumeric());
    let short = before.by_ref().take(2).all(|sign| "bfruBFRU".contains(sign));
    short && before.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the value of a column at every character, as one digit each; `.` for none.
    pub fn line(text: &str, name: &str) -> String {
        let offsets: Vec<_> = text.char_indices().map(|(at, sign)| at..at + sign.len_utf8()).collect();
        let labels = label(text).unwrap().aligned(text, &offsets);
        let (_, values) = labels.column(name).unwrap();
        values.iter().map(|value| if *value == 0 { ".".into() } else { value.to_string() }).collect()
    }

    /// Returns the kind of each apostrophe and single quotation mark of a text, by its first letter; `-` for none.
    pub fn apostrophes(text: &str) -> String {
        let values = line(text, "apostrophe");
        let marks = text.chars().zip(values.chars()).filter(|(sign, _)| "'‘’".contains(*sign));
        let kind = |value: char| value.to_digit(10).map_or('-', |at| b"?pcPq"[at as usize] as char);
        marks.map(|(_, value)| kind(value)).collect()
    }

    #[test]
    fn brackets_are_paired_and_strays_are_left_out() {
        let text = "a (b [c] (d)) e";
        assert_eq!(line(text, "depth"), "..1111111 2221..".replace(' ', ""));
        assert_eq!(line(text, "bracket"), "..111222 11111..".replace(' ', ""));
        assert_eq!(line(text, "bracket_depth"), "..111222 12221..".replace(' ', ""));
        assert_eq!(line("1) a (b] c) :-(", "depth"), ".....111111... ".replace(' ', "."));
        // Of two brackets that cross, one does not count.
        assert_eq!(line("([)]", "bracket"), "111.");
    }

    #[test]
    fn the_way_from_the_bracket_is_counted() {
        assert_eq!(line("a (bc (d) e)", "since_open"), "...123.12789");
    }

    #[test]
    fn labels_of_any_text_stay_within_it() {
        let text = "“(’'\"[\n\n\t1987.’s é'’)]”";
        let marks = label(text).unwrap().marks;
        assert!(marks.iter().all(|mark| text.get(mark.start as usize..mark.end as usize).is_some()));
    }
}
