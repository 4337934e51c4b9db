//! Cutting long texts into pieces at ends of paragraphs, so that no document has to be in memory whole.

use std::sync::Arc;

use crate::data::Document;

/// Pieces are at most about this long. Tokenizers split a text of up to this size without a thread of its own.
pub const PIECE: usize = 1 << 15;

/// Where a text of more than [`PIECE`] bytes is cut: before the last empty line in that much of it, so that the blanks
/// stay with what follows, as tokenizers take them; else before its last line end, its last blank, or wherever a
/// character ends.
pub fn place(text: &str) -> usize {
    let limit = (1..=PIECE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let head = text.get(..limit).unwrap_or(text);
    // The whole stretch of blanks goes with what follows.
    let before = |found: Option<usize>| {
        let end = found.and_then(|at| head.get(..at)).map_or(0, |kept| kept.trim_end().len());
        (end > 0).then_some(end)
    };
    before(head.rfind("\n\n"))
        .or_else(|| before(head.rfind('\n')))
        .or_else(|| before(head.rfind(char::is_whitespace)))
        .unwrap_or(limit)
}

/// One document in pieces. It stays where it is until they are all taken, since what is moved for every piece is moved
/// as often as there are pieces.
#[derive(Default)]
pub struct Pieces {
    text: String,
    origin: Arc<str>,
    /// How much of it has been given.
    at: usize,
}

impl Pieces {
    pub fn of(text: String, origin: Arc<str>) -> Self {
        Self { text, origin, at: 0 }
    }

    /// The next piece; none when the text is used up.
    pub fn next(&mut self) -> Option<Document> {
        let (at, origin) = (self.at, self.origin.clone());
        let rest = self.text.get(at..).filter(|rest| !rest.is_empty())?;
        let text = match rest.len() > PIECE {
            true => rest.get(..place(rest)).unwrap_or(rest).to_string(),
            // The last one, or all of a short text, which is not copied.
            false if at == 0 => std::mem::take(&mut self.text),
            false => rest.to_string(),
        };
        self.at += text.len();
        Some(Document { text, origin, at: at as u64, marks: None })
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
        // A text that begins with blanks and has no others is cut behind them all the same.
        assert_eq!(pieces(&format!("\n\n{}", "x".repeat(PIECE)))[0].text.len(), PIECE);
    }

    #[test]
    fn a_text_stays_where_it_is_while_pieces_are_taken() {
        let text = "word word\n".repeat(PIECE);
        let (place, length) = (text.as_ptr(), text.len());
        let mut pieces = Pieces::of(text, "x".into());
        let mut taken = 0;
        while taken + PIECE < length {
            taken += pieces.next().unwrap().text.len();
            assert!(pieces.text.as_ptr() == place && pieces.text.len() == length);
        }
        // One that is short is given as it is.
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
