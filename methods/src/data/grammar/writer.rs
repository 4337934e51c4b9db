//! A writer of text together with its marks.

use super::labels::{APOSTROPHES, BRACKETS, Col, NUMERALS, QUOTES, value};
use crate::tokenizer::labels::{Mark, Marks};

/// An open bracket or quotation, and the place in the list where its marks begin.
struct OpenMark {
    closing: char,
    first: usize,
    last: usize,
}

#[derive(Default)]
pub struct MarkedWriter {
    text: String,
    marks: Vec<Mark>,
    open: Vec<OpenMark>,
    /// Places of apostrophes that are quotation marks.
    quotes: Vec<usize>,
    /// Places of apostrophes that are certain once the text before them has been read.
    certain: Vec<usize>,
    /// Whether the next letter begins a sentence.
    capital: bool,
}

impl MarkedWriter {
    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes plain text, without brackets and quotation marks, which have functions of their own.
    pub fn push(&mut self, text: &str) {
        let mut letters = text.chars();
        match letters.next() {
            Some(first) if self.capital && first.is_alphanumeric() => {
                self.capital = false;
                self.text.push(first.to_ascii_uppercase());
                self.text.push_str(letters.as_str());
            }
            _ => self.text.push_str(text),
        }
    }

    /// Makes the next letter a capital.
    pub fn capital(&mut self) {
        self.capital = true;
    }

    pub fn mark(&mut self, column: Col, start: usize, end: usize, value: u32) {
        self.marks.push(Mark { column: column as u16, start: start as u32, end: end as u32, value });
    }

    /// Marks the text since `start`.
    pub fn mark_since(&mut self, column: Col, start: usize, value: u32) {
        self.mark(column, start, self.len(), value);
    }

    /// Returns the marks of a column so far, in the order of their beginnings.
    pub fn marks_of(&self, column: Col) -> impl Iterator<Item = Mark> {
        self.marks.iter().copied().filter(move |mark| mark.column == column as u16)
    }

    /// Returns the value of a byte in a column.
    pub fn value_at(&self, column: Col, at: u32) -> u32 {
        self.marks_of(column).filter(|mark| mark.start <= at && at < mark.end).last().map_or(0, |mark| mark.value)
    }

    /// Returns the number of marks, for [`MarkedWriter::mark_below`].
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// Marks the text since `start` below the marks after the first `from`, which take precedence over it. Everything
    /// that was opened after them must be closed.
    pub fn mark_below(&mut self, from: usize, column: Col, start: usize, value: u32) {
        let end = self.len() as u32;
        self.marks.insert(from.min(self.marks.len()), Mark { column: column as u16, start: start as u32, end, value });
    }

    /// Marks the last byte, or the one before a space at the end, where it is known what comes next.
    pub fn mark_next(&mut self, column: Col, value: u32) {
        let end = self.text.trim_end().len();
        self.mark(column, end.saturating_sub(1), end, value);
    }

    /// Opens a parenthesis of this kind, a value of its column.
    pub fn open(&mut self, kind: u32) {
        let start = self.len();
        let first = self.marks.len();
        let depth = 1 + self.open.iter().filter(|open| open.closing == ')').count();
        self.mark(Col::Depth, start, start, depth as u32);
        self.mark(Col::ParenKind, start, start, kind);
        self.mark(Col::Bracket, start, start, value(&BRACKETS, "round"));
        self.mark(Col::SinceOpen, start, start, start as u32);
        self.opened("(", ')', first);
    }

    pub fn open_square(&mut self) {
        let first = self.marks.len();
        self.mark(Col::Bracket, self.len(), self.len(), value(&BRACKETS, "square"));
        self.opened("[", ']', first);
    }

    pub fn open_curly(&mut self) {
        let first = self.marks.len();
        self.mark(Col::Bracket, self.len(), self.len(), value(&BRACKETS, "curly"));
        self.opened("{", '}', first);
    }

    pub fn open_double(&mut self) {
        self.open_quote("\"", '"', "double");
    }

    pub fn open_single(&mut self) {
        self.quotes.push(self.len());
        self.open_quote("'", '\'', "single");
    }

    fn open_quote(&mut self, sign: &str, closing: char, kind: &str) {
        let start = self.len();
        let first = self.marks.len();
        let depth = 1 + self.open.iter().filter(|open| matches!(open.closing, '"' | '\'')).count();
        self.mark(Col::Quote, start, start, value(&QUOTES, kind));
        self.mark(Col::QuoteDepth, start, start, depth as u32);
        self.opened(sign, closing, first);
    }

    fn opened(&mut self, sign: &str, closing: char, first: usize) {
        self.text.push_str(sign);
        self.open.push(OpenMark { closing, first, last: self.marks.len() });
    }

    /// Closes the bracket or quotation that was opened last.
    pub fn close(&mut self) {
        let Some(OpenMark { closing, first, last }) = self.open.pop() else { return };
        if closing == '\'' {
            self.quotes.push(self.len());
        }
        self.text.push(closing);
        let end = self.len() as u32;
        for mark in self.marks.iter_mut().take(last).skip(first) {
            mark.end = end;
        }
    }

    /// Marks the place as one where a closing parenthesis is certain to follow.
    pub fn due(&mut self) {
        self.mark(Col::Due, self.len().saturating_sub(1), self.len(), 1);
    }

    /// Marks the place as one where an apostrophe is certain to follow.
    pub fn apostrophe_due(&mut self) {
        self.certain.push(self.len());
    }

    /// Returns the text and its marks, including those that follow from the letters.
    pub fn finish(mut self) -> (String, Marks) {
        while !self.open.is_empty() {
            self.close();
        }
        self.mark_apostrophes();
        self.mark_numerals();
        (self.text, Marks { columns: super::labels::columns(), marks: self.marks })
    }

    fn mark_apostrophes(&mut self) {
        let text = std::mem::take(&mut self.text);
        for (at, _) in text.match_indices('\'') {
            let quote = self.quotes.contains(&at);
            let kind = if quote { "quote" } else { apostrophe(&text, at) };
            self.mark(Col::Apostrophe, at, at + 1, value(&APOSTROPHES, kind));
            if self.certain.contains(&at) || !quote && STEMS.contains(&word_before(&text, at).as_str()) {
                self.mark(Col::ApostropheNext, at.saturating_sub(1), at, value(&APOSTROPHES, kind));
            }
        }
        self.text = text;
    }

    fn mark_numerals(&mut self) {
        let text = std::mem::take(&mut self.text);
        let mut start = None;
        for (at, byte) in text.bytes().chain([b' ']).enumerate() {
            match (byte.is_ascii_digit(), start) {
                (true, None) => start = Some(at),
                (false, Some(from)) => {
                    let kind = if at - from == 4 { "year" } else { "number" };
                    self.mark(Col::Numeral, from, at, value(&NUMERALS, kind));
                    start = None;
                }
                _ => {}
            }
        }
        self.text = text;
    }
}

/// Words before "'s" that make it "is", "has" or "us".
const SHORTENED: [&str; 12] =
    ["it", "he", "she", "that", "there", "here", "what", "who", "where", "how", "let", "everything"];

/// Words that occur only before "'t", which is certain to follow.
const STEMS: [&str; 11] =
    ["don", "isn", "wasn", "didn", "doesn", "couldn", "wouldn", "shouldn", "hasn", "hadn", "weren"];

/// Returns the word that ends at a byte, in lower case.
fn word_before(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase()
}

/// Returns the kind of an apostrophe that is not a quotation mark.
fn apostrophe(text: &str, at: usize) -> &'static str {
    let mut rest = text.get(at + 1..).unwrap_or_default().chars();
    match (rest.next(), rest.next()) {
        (Some('s'), next) if !next.is_some_and(char::is_alphabetic) => {
            if SHORTENED.contains(&word_before(text, at).as_str()) { "contraction" } else { "possessive" }
        }
        (Some(next), _) if next.is_alphabetic() => "contraction",
        _ => "plural",
    }
}
