//! Cutting long documents into pieces at ends of paragraphs, so that no document is in memory whole.

use std::sync::Arc;

use crate::data::Document;

/// Maximum bytes in a piece. Tokenizers split a text of up to this size without a thread of its own.
pub const PIECE: usize = 1 << 15;

/// Longest word, in bytes, that is not cut: the parts of a word are other words to a tokenizer of words.
const WORD: usize = 1 << 18;

/// Returns where a text of more than [`PIECE`] bytes is cut: before the last empty line within the first [`PIECE`]
/// bytes, so that white space stays with the text after it, as tokenizers expect; else before the last line end, the
/// last space, behind the word that it begins with, or, if that is longer still or the text ends with it, at the end of
/// any character.
pub fn place(text: &str) -> usize {
    between_words(text).unwrap_or_else(|| limit(text))
}

/// Returns whether a longer text with this beginning may be cut elsewhere.
pub fn is_open(text: &str) -> bool {
    text.len() < WORD && between_words(text).is_none()
}

fn limit(text: &str) -> usize {
    (1..=PIECE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

fn between_words(text: &str) -> Option<usize> {
    let limit = limit(text);
    let head = text.get(..limit).unwrap_or(text);
    // All of the white space goes with the text after it.
    let before = |found: Option<usize>| {
        let end = found.and_then(|at| head.get(..at)).map_or(0, |kept| kept.trim_end().len());
        (end > 0).then_some(end)
    };
    before(head.rfind("\n\n"))
        .or_else(|| before(head.rfind('\n')))
        .or_else(|| before(head.rfind(char::is_whitespace)))
        .or_else(|| behind(text, limit))
}

/// Returns the end of the word that goes on at a byte.
fn behind(text: &str, at: usize) -> Option<usize> {
    let last = (at..=WORD.max(at).min(text.len())).rev().find(|at| text.is_char_boundary(*at))?;
    text.get(at..last)?.find(char::is_whitespace).map(|found| at + found)
}

/// One document in pieces. It is not moved while they are taken, since that would copy it once for each piece.
#[derive(Default)]
pub struct Pieces {
    text: String,
    origin: Arc<str>,
    /// The bytes returned so far.
    at: usize,
}

impl Pieces {
    pub fn of(text: String, origin: Arc<str>) -> Self {
        Self { text, origin, at: 0 }
    }

    /// Returns the next piece; none at the end of the text.
    pub fn next(&mut self) -> Option<Document> {
        let at = self.at;
        let origin = self.origin.clone();
        let rest = self.text.get(at..).filter(|rest| !rest.is_empty())?;
        let text = if rest.len() > PIECE {
            rest.get(..place(rest)).unwrap_or(rest).to_string()
        } else if at == 0 {
            // A short text is returned without a copy.
            std::mem::take(&mut self.text)
        } else {
            rest.to_string()
        };
        self.at += text.len();
        Some(Document { text, origin, at: at as u64, marks: None, ids: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Document> {
        let mut pieces = Pieces::of(text.into(), "x".into());
        std::iter::from_fn(|| pieces.next()).collect()
    }

    #[test]
    fn a_cut_is_before_the_blanks_between_paragraphs() {
        let paragraph = "word ".repeat(1000);
        let text = format!("{paragraph}end\n\n\n").repeat(20);
        let found = pieces(&text);
        assert!(found.len() == 4 && found.iter().all(|piece| piece.text.len() <= PIECE));
        assert!(found.iter().skip(1).all(|piece| piece.text.starts_with("\n\n\nword")));
        assert_eq!(found.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
    }

    #[test]
    fn lines_words_and_characters_are_cut_where_there_is_nothing_better() {
        let lines = "word word\n".repeat(PIECE / 5);
        assert!(pieces(&lines)[1].text.starts_with("\nword"));
        assert!(pieces(&"word ".repeat(PIECE))[1].text.starts_with(" word"));
        let found = pieces(&"é".repeat(PIECE));
        assert_eq!(found.iter().map(|piece| piece.text.len()).collect::<Vec<_>>(), [PIECE, PIECE]);
        // A word longer than a piece stays whole, up to a length.
        let word = "x".repeat(3 * PIECE);
        let found = pieces(&format!("{word} b {word} c"));
        assert_eq!(found.iter().map(|piece| piece.text.len()).collect::<Vec<_>>(), [3 * PIECE, 2, 3 * PIECE + 1, 2]);
        assert_eq!(pieces(&format!("{} b", "x".repeat(9 * PIECE)))[0].text.len(), PIECE);
        // A text whose only white space is at its beginning is not cut there.
        assert_eq!(pieces(&format!("\n\n{}", "x".repeat(PIECE)))[0].text.len(), PIECE);
    }

    #[test]
    fn a_text_stays_where_it_is_while_pieces_are_taken() {
        let text = "word word\n".repeat(PIECE);
        let place = text.as_ptr();
        let length = text.len();
        let mut pieces = Pieces::of(text, "x".into());
        let mut taken = 0;
        while taken + PIECE < length {
            taken += pieces.next().unwrap().text.len();
            assert!(pieces.text.as_ptr() == place && pieces.text.len() == length);
        }
        // A short one is returned as it is.
        let short = String::from("a short one");
        let place = short.as_ptr();
        assert_eq!(Pieces::of(short, "x".into()).next().unwrap().text.as_ptr(), place);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        #[test]
        fn pieces_make_the_text(parts in proptest::collection::vec("[aé \n]{0,3}|[a\n]{300}", 0..200)) {
            let text = parts.concat().repeat(30);
            let found = pieces(&text);
            let mut at = 0;
            for piece in &found {
                assert!(piece.at == at && !piece.text.is_empty());
                at += piece.text.len() as u64;
            }
            assert_eq!(found.into_iter().map(|piece| piece.text).collect::<String>(), text);
        }
    }
}
