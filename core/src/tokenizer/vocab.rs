//! The tokens of a tokenizer: their names in the file, and the bytes that they stand for.

use std::collections::HashMap;

use crate::base::budget::Budget;
use crate::common::*;

/// Largest id. Ids are rows of an embedding; larger ones are errors of a file.
const MOST: u32 = 1 << 24;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabEntry {
    /// The name in the file: `Ġthe`, `▁the`, `<0x0A>`.
    pub name: String,
    /// The bytes that it adds to a text: ` the`, or a part of a character.
    pub bytes: Vec<u8>,
    /// Whether it is a special token, which is not part of the text.
    pub special: bool,
}

impl VocabEntry {
    /// Makes a token whose name is its text.
    pub fn plain(name: String) -> Self {
        Self { bytes: name.clone().into_bytes(), name, special: false }
    }

    pub fn special(name: String) -> Self {
        Self { special: true, ..Self::plain(name) }
    }
}

#[derive(Debug)]
pub struct Vocab {
    pieces: BTreeMap<u32, VocabEntry>,
    ids: HashMap<String, u32>,
    /// Whether a space at the beginning of a decoded text was added by the tokenizer.
    pub(super) leading_space: bool,
}

impl Vocab {
    pub(super) fn new(pieces: impl IntoIterator<Item = (u32, VocabEntry)>, leading_space: bool) -> Result<Self> {
        let mut vocab = Self { pieces: BTreeMap::new(), ids: HashMap::new(), leading_space };
        let mut budget = Budget::of_header();
        for (id, piece) in pieces {
            // The name is in both tables, each of which has spare capacity.
            let bytes = 4 * size_of::<(u32, VocabEntry)>() + 2 * piece.name.len() + piece.bytes.len();
            budget.take(bytes as u128, || "the vocabulary".into())?;
            if id >= MOST {
                bail!(Format, "expected token ids below {MOST}, found {id} for `{}`", piece.name);
            }
            if let Some(other) = vocab.ids.insert(piece.name.clone(), id) {
                bail!(Format, "expected tokens that differ, found `{}` as {other} and as {id}", piece.name);
            }
            if let Some(other) = vocab.pieces.insert(id, piece) {
                bail!(Format, "expected one token of id {id}, found `{}` and another", other.name);
            }
        }
        if vocab.pieces.is_empty() {
            bail!(Format, "expected a vocabulary, found no token in it");
        }
        Ok(vocab)
    }

    /// Marks these tokens as special.
    pub(super) fn mark_special(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            if let Some(piece) = self.pieces.get_mut(&id) {
                piece.special = true;
            }
        }
    }

    /// Returns the number of rows of an embedding of all ids. There are fewer tokens if a file leaves out ids.
    pub fn size(&self) -> usize {
        self.pieces.last_key_value().map_or(0, |(id, _)| *id as usize + 1)
    }

    /// Iterates over all tokens in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &VocabEntry)> {
        self.pieces.iter().map(|(id, piece)| (*id, piece))
    }

    pub fn piece(&self, id: u32) -> Result<&VocabEntry> {
        self.pieces.get(&id).ok_or_else(|| {
            let size = self.size();
            if (id as usize) < size {
                return err!(Index, "the tokenizer has no token {id}");
            }
            err!(Index, "expected a token below {size}, found {id}")
                .hint("the model may have more rows than its tokenizer has tokens; the others have no text")
        })
    }

    /// Returns the token with this name in the file.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// Returns the token with a name that must exist.
    pub fn named(&self, name: &str) -> Result<u32> {
        self.id_of(name).ok_or_else(|| {
            err!(Name, "the tokenizer has no token `{name}`")
                .maybe_hint(names::suggestion(name, self.pieces.values().map(|piece| piece.name.as_str())))
        })
    }

    /// Returns the readable text of one token, with its leading space. A byte that is not a character is written as
    /// `<0xE2>`.
    pub fn text_of(&self, id: u32) -> Result<String> {
        let mut text = String::new();
        for chunk in self.piece(id)?.bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Vocab {
        let pieces = ["a", "b", " c"].map(|name| VocabEntry::plain(name.into()));
        Vocab::new((0..).zip(pieces), false).unwrap()
    }

    #[test]
    fn ids_beyond_the_vocabulary_are_refused_by_number() {
        let vocab = letters();
        assert_eq!(vocab.decode(&[0, 2, 1]).unwrap(), "a cb");
        assert_eq!(vocab.decode(&[0, 3]).unwrap_err().message, "expected a token below 3, found 3");
        assert_eq!(vocab.text_of(u32::MAX).unwrap_err().message, "expected a token below 3, found 4294967295");
    }

    #[test]
    fn names_and_ids_are_given_once() {
        let two = |names: [&str; 2], ids: [u32; 2]| {
            Vocab::new(ids.into_iter().zip(names.map(|name| VocabEntry::plain(name.into()))), false)
                .map(|vocab| vocab.size())
        };
        assert_eq!(two(["a", "b"], [0, 5]), Ok(6));
        assert!(two(["a", "a"], [0, 1]).unwrap_err().message.contains("`a` as 0 and as 1"));
        assert!(two(["a", "b"], [1, 1]).unwrap_err().message.contains("one token of id 1"));
        assert!(two(["a", "b"], [0, u32::MAX]).unwrap_err().message.contains("below 16777216"));
        assert!(Vocab::new([], false).is_err());
        assert_eq!(letters().named("B").unwrap_err().hint.unwrap(), "did you mean `b`?");
    }

    #[test]
    fn parts_of_a_character_are_marked() {
        let piece = VocabEntry { name: "x".into(), bytes: b"a\xe2\x82".to_vec(), special: false };
        let vocab = Vocab::new([(0, piece)], false).unwrap();
        assert_eq!(vocab.text_of(0).unwrap(), "a<0xE2><0x82>");
        assert_eq!(vocab.decode(&[0]).unwrap(), "a\u{fffd}");
    }
}
