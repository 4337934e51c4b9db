//! Decoding tokens: several at once, or one by one during generation, where text is returned as soon as its characters
//! are complete.

use super::vocab::Vocab;
use crate::common::*;

impl Vocab {
    /// Decodes several tokens. Invalid bytes become U+FFFD, and special tokens are shown.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut stream = Stream::new(self);
        let mut text = String::new();
        for id in ids {
            text.push_str(&stream.push(*id)?);
        }
        text.push_str(&stream.finish());
        Ok(text)
    }

    /// Decodes several tokens, and returns the bytes of the text that each token stands for, in order and without
    /// overlap. What became U+FFFD is of the token where it begins.
    pub(super) fn placed(&self, ids: &[u32]) -> Result<(String, Vec<Range<usize>>)> {
        let mut stream = Stream::new(self);
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for id in ids {
            bytes.extend_from_slice(stream.own(*id)?);
            ends.push(bytes.len());
        }
        // Where in the text each byte begins, and at the end where the text ends.
        let mut text = String::new();
        let mut places = Vec::with_capacity(bytes.len() + 1);
        for chunk in bytes.utf8_chunks() {
            places.extend((0..chunk.valid().len()).map(|at| text.len() + at));
            text.push_str(chunk.valid());
            if let Some(further) = chunk.invalid().len().checked_sub(1) {
                places.push(text.len());
                text.push(char::REPLACEMENT_CHARACTER);
                places.extend(std::iter::repeat_n(text.len(), further));
            }
        }
        places.push(text.len());
        let place = |at: &usize| places.get(*at).copied().unwrap_or(text.len());
        let starts = std::iter::once(&0).chain(&ends);
        let ranges = starts.zip(&ends).map(|(start, end)| place(start)..place(end)).collect();
        Ok((text, ranges))
    }
}

/// The state of a text that is being decoded.
pub struct Stream<'a> {
    vocab: &'a Vocab,
    /// Whether the text has not begun, so that a space there was added by the tokenizer.
    fresh: bool,
    /// Bytes at the end that may become a character.
    pending: Vec<u8>,
}

impl<'a> Stream<'a> {
    /// Starts at the beginning of a text.
    pub fn new(vocab: &'a Vocab) -> Self {
        Self { vocab, fresh: vocab.leading_space, pending: Vec::new() }
    }

    /// Decodes one token: returns the text that it completes, which is empty within a character.
    pub fn push(&mut self, id: u32) -> Result<String> {
        let own = self.own(id)?;
        self.pending.extend_from_slice(own);
        Ok(self.whole())
    }

    /// Returns the bytes that a token adds to the text.
    fn own(&mut self, id: u32) -> Result<&'a [u8]> {
        let piece = self.vocab.piece(id)?;
        let own = if self.fresh { piece.bytes.strip_prefix(b" ") } else { None };
        // A special token is not part of the text, which has not begun yet.
        self.fresh = self.fresh && piece.special && own.is_none();
        Ok(own.unwrap_or(&piece.bytes))
    }

    /// Returns the rest at the end: U+FFFD for an incomplete character.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    /// Removes from the pending bytes those that later bytes cannot change.
    fn whole(&mut self) -> String {
        let mut text = String::new();
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let bytes = chunk.invalid();
            if bytes.is_empty() || incomplete(bytes) && taken + bytes.len() == self.pending.len() {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            taken += bytes.len();
        }
        self.pending.drain(..taken);
        text
    }
}

/// Returns whether more bytes could complete these to a character.
fn incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::super::vocab::VocabEntry;
    use super::*;
    use proptest::prelude::*;

    /// Makes a vocabulary in which tokens 0 to 255 are the bytes, 256 is ` a`, and 257 is special.
    fn bytes(leading_space: bool) -> Vocab {
        let byte = |byte: u8| VocabEntry { name: format!("<0x{byte:02X}>"), bytes: vec![byte], special: false };
        let pieces = (0..=255).map(byte).chain([VocabEntry::plain(" a".into()), VocabEntry::special("<s>".into())]);
        Vocab::new((0..).zip(pieces), leading_space).unwrap()
    }

    #[test]
    fn a_character_comes_when_it_is_whole() {
        let vocab = bytes(false);
        let mut stream = Stream::new(&vocab);
        let given: Vec<_> = "é€!".bytes().map(|byte| stream.push(byte.into()).unwrap()).collect();
        assert_eq!(given, ["", "é", "", "", "€", "!"]);
        assert_eq!(stream.push(0xe2).unwrap(), "");
        assert_eq!(stream.push(0x41).unwrap(), "\u{fffd}A");
        assert_eq!(stream.push(0xf0).unwrap(), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    #[test]
    fn the_tokenizers_own_space_is_left_off_once_and_only_at_the_beginning() {
        let own = bytes(true);
        let texts = bytes(false);
        assert_eq!(own.decode(&[256, 256]).unwrap(), "a a");
        assert_eq!(own.decode(&[257, 256, 256]).unwrap(), "<s>a a");
        assert_eq!(own.decode(&[65, 256]).unwrap(), "A a");
        assert_eq!(texts.decode(&[256, 256]).unwrap(), " a a");
    }

    proptest! {
        #[test]
        fn bytes_in_pieces_decode_as_bytes_at_once(given in proptest::collection::vec(any::<u8>(), 0..40)) {
            let ids: Vec<u32> = given.iter().map(|byte| u32::from(*byte)).collect();
            prop_assert_eq!(bytes(false).decode(&ids).unwrap(), String::from_utf8_lossy(&given));
            let (text, ranges) = bytes(false).placed(&ids).unwrap();
            prop_assert_eq!(&text, &String::from_utf8_lossy(&given));
            prop_assert_eq!(ranges.len(), ids.len());
            let ends = ranges.iter().map(|range| range.end).chain([text.len()]);
            prop_assert!([0].into_iter().chain(ends).zip(ranges.iter().map(|range| range.start).chain([text.len()])).all(|(a, b)| a == b));
        }
    }

    #[test]
    fn each_token_has_its_place_in_the_text_of_all() {
        let place = |vocab: Vocab, ids: &[u32]| vocab.placed(ids).unwrap();
        assert_eq!(place(bytes(true), &[257, 256, 256]), ("<s>a a".into(), vec![0..3, 3..4, 4..6]));
        let cut: Vec<u32> = "é!".bytes().map(u32::from).collect();
        assert_eq!(place(bytes(false), &cut), ("é!".into(), vec![0..1, 1..2, 2..3]));
        // Two bytes of three: one character stands for what is no text.
        assert_eq!(place(bytes(false), &[0xe2, 0x82, 0x41]), ("\u{fffd}A".into(), vec![0..3, 3..3, 3..4]));
    }
}
