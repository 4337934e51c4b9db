//! The sentences of a text, and the tokens of each.

use crate::common::*;
use crate::tokenizer::tokens::Tokens;

/// The smallest number of characters of a sentence of its own, as the authors of thought anchors have it.
const SHORTEST: usize = 10;

/// A sentence of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The sentence without blanks around it.
    pub text: String,
    /// The positions of its tokens.
    pub tokens: Range<usize>,
}

/// Cuts a text into sentences, whose bytes follow each other: behind a full stop, a question mark or an exclamation mark
/// that a space or the end of a line follows, and at blank lines. Blanks between two belong to the first. What has fewer
/// than ten characters is joined to what follows, and at the end to what comes before.
pub fn cut(text: &str) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    let mut open = None;
    for piece in pieces(text) {
        let start = open.take().unwrap_or(piece.start);
        if text[start..piece.end].trim().chars().count() < SHORTEST {
            open = Some(start);
        } else {
            joined.push(start..piece.end);
        }
    }
    if let Some(start) = open {
        match joined.last_mut() {
            Some(last) => last.end = text.len(),
            None => joined.push(start..text.len()),
        }
    }
    joined
}

/// Cuts a text behind the ends of sentences and at blank lines, however short the pieces are.
fn pieces(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let ends = ends_here(&bytes[at..]);
        at += 1;
        if !ends {
            continue;
        }
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if !text[start..at].trim().is_empty() {
            found.push(start..at);
            start = at;
        }
    }
    if !text[start..].trim().is_empty() {
        found.push(start..text.len());
    } else if let Some(last) = found.last_mut() {
        last.end = text.len();
    }
    found
}

/// Returns whether a sentence ends with the first of these bytes.
fn ends_here(bytes: &[u8]) -> bool {
    let is_mark = matches!(bytes, [b'.' | b'?' | b'!', b' ' | b'\n', ..]);
    is_mark || bytes.starts_with(b"\n\n") || bytes.starts_with(b"\r\n\r\n")
}

/// Returns whether a text ends where a sentence does.
pub fn is_whole(text: &str) -> bool {
    text.trim_end().trim_end_matches(['"', '\'', '\u{201d}', '\u{2019}', ')']).ends_with(['.', '?', '!'])
}

/// Returns the sentences of a text in tokens. A token belongs to the sentence of its last byte, so a word that carries
/// the blank before it is in its own sentence; tokens that were added belong to none.
pub fn sentences_of(tokens: &Tokens) -> Result<Vec<Sentence>> {
    let end = tokens.len() - tokens.back;
    let offsets = &tokens.offsets[tokens.front..end];
    let first = |byte: usize| tokens.front + offsets.partition_point(|range| range.end <= byte);
    let mut found: Vec<Sentence> = Vec::new();
    let cuts = cut(&tokens.text);
    for (number, bytes) in cuts.iter().enumerate() {
        let from = if number == 0 { tokens.front } else { first(bytes.start) };
        let until = cuts.get(number + 1).map_or(end, |next| first(next.start));
        let text = tokens.text[bytes.clone()].trim();
        match found.last_mut() {
            // One token has the ends of two sentences.
            Some(before) if from == until => {
                before.text.push(' ');
                before.text.push_str(text);
            }
            _ => found.push(Sentence { text: text.into(), tokens: from..until }),
        }
    }
    if found.len() < 2 {
        return Err(err!(Argument, "expected a text of at least two sentences, found {}", found.len())
            .hint(
                "a sentence ends with `.`, `?` or `!` before a space or the end of a line, or at a blank line; \
                 one of less than ten characters is a part of the next",
            )
            .about("text"));
    }
    Ok(found)
}
