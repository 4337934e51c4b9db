//! Decoding tokens: several at once, or one by one during generation, where text is returned as soon as its characters
//! are complete.

use super::vocab::Vocab;
use crate::base::Result;

impl Vocab {
    /// The text of several tokens. Invalid bytes become U+FFFD, and special tokens are shown.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut stream = Stream::new(self);
        let mut text = String::new();
        for id in ids {
            text.push_str(&stream.push(*id)?);
        }
        text.push_str(&stream.finish());
        Ok(text)
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
    /// At the beginning of a text.
    pub fn new(vocab: &'a Vocab) -> Self {
        Self { vocab, fresh: vocab.leading_space, pending: Vec::new() }
    }

    /// Decodes one token: returns the text that it completes, which is empty within a character.
    pub fn push(&mut self, id: u32) -> Result<String> {
        let piece = self.vocab.piece(id)?;
        let own = if self.fresh { piece.bytes.strip_prefix(b" ") } else { None };
        // A special token is not part of the text, which has not begun yet.
        self.fresh = self.fresh && piece.special && own.is_none();
        self.pending.extend_from_slice(own.unwrap_or(&piece.bytes));
        Ok(self.whole())
    }

    /// The rest at the end: U+FFFD for an incomplete character.
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

/// Whether more bytes could complete these to a character.
fn incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::super::vocab::Piece;
    use super::*;
    use proptest::prelude::*;

    /// Tokens 0 to 255 are the bytes, 256 is ` a`, 257 is special.
    fn bytes(leading_space: bool) -> Vocab {
        let byte = |byte: u8| Piece { name: format!("<0x{byte:02X}>"), bytes: vec![byte], special: false };
        let pieces = (0..=255).map(byte).chain([Piece::plain(" a".into()), Piece::special("<s>".into())]);
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
        let (own, texts) = (bytes(true), bytes(false));
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
        }
    }
}
