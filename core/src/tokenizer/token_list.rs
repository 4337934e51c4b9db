//! Tokenizers of a given vocabulary, for models that are created here: characters or words.

use std::collections::HashMap;

use super::saving::{Origin, Ours};
use super::vocab::{Vocab, VocabEntry};
use super::{Splitter, TokenSpan, Tokenizer};
use crate::common::*;

/// Pieces looked up between two checks for an interruption.
const BETWEEN_CHECKS: usize = 1 << 13;

impl Tokenizer {
    /// Makes a tokenizer whose tokens are characters; ids are indices of the list. An entry of several characters is a
    /// special token, which no text produces. `bos` and `unknown` are entries: the BOS token, and the token of
    /// characters that are not in the list, which are errors without it.
    pub fn characters(list: Vec<String>, bos: Option<&str>, unknown: Option<&str>) -> Result<Self> {
        let piece = |name: &String| match name.chars().nth(1) {
            None => VocabEntry::plain(name.clone()),
            Some(_) => VocabEntry::special(name.clone()),
        };
        let listed = TokenList::new(list.iter().map(piece).collect(), false, bos, unknown)?;
        let single = |(name, id): (String, u32)| {
            let mut letters = name.chars();
            letters.next().filter(|_| letters.next().is_none()).map(|letter| (letter, id))
        };
        let ids = listed.ids().filter_map(single).collect();
        let split = CharacterSplitter { ids, unknown: listed.unknown };
        let bos = bos.map(String::from);
        let unknown = unknown.map(String::from);
        Ok(listed.tokenizer(Arc::new(split), Ours::Characters { tokens: list, bos, unknown }))
    }

    /// Makes a tokenizer whose tokens are words; ids are indices of the list. Words are separated by white space, so
    /// they include punctuation, and are joined by one space when they are decoded. `bos` and `unknown` as for
    /// characters.
    pub fn words(list: Vec<String>, bos: Option<&str>, unknown: Option<&str>) -> Result<Self> {
        if let Some(broken) = list.iter().find(|name| name.contains(char::is_whitespace)) {
            return Err(err!(Argument, "expected words without white space, found {broken:?}")
                .hint("white space separates words, so no text would produce this one")
                .about("tokens"));
        }
        let piece =
            |name: &String| VocabEntry { bytes: format!(" {name}").into_bytes(), ..VocabEntry::plain(name.clone()) };
        let listed = TokenList::new(list.iter().map(piece).collect(), true, bos, unknown)?;
        let split = WordSplitter { ids: listed.ids().collect(), unknown: listed.unknown };
        let bos = bos.map(String::from);
        let unknown = unknown.map(String::from);
        Ok(listed.tokenizer(Arc::new(split), Ours::Words { tokens: list, bos, unknown }))
    }
}

/// Characters of a word that a message shows.
const SHOWN: usize = 60;

/// The common part of both kinds.
struct TokenList {
    vocab: Vocab,
    bos: Option<u32>,
    unknown: Option<u32>,
}

impl TokenList {
    fn new(pieces: Vec<VocabEntry>, leading_space: bool, bos: Option<&str>, unknown: Option<&str>) -> Result<Self> {
        if pieces.iter().any(|piece| piece.name.is_empty()) {
            return Err(err!(Argument, "expected tokens of at least one character, found an empty one").about("tokens"));
        }
        let mut vocab = Vocab::new((0..).zip(pieces), leading_space)?;
        let bos = bos.map(|name| vocab.named(name)).transpose()?;
        let unknown = unknown.map(|name| vocab.named(name)).transpose()?;
        vocab.mark_special(bos.into_iter().chain(unknown));
        Ok(Self { vocab, bos, unknown })
    }

    fn ids(&self) -> impl Iterator<Item = (String, u32)> {
        self.vocab.iter().map(|(id, piece)| (piece.name.clone(), id))
    }

    fn tokenizer(self, split: Arc<dyn Splitter>, ours: Ours) -> Tokenizer {
        let bos = self.bos;
        Tokenizer { bos, ..Tokenizer::new(Arc::new(self.vocab), split, Origin::Ours(ours)) }
    }
}

struct CharacterSplitter {
    ids: HashMap<char, u32>,
    unknown: Option<u32>,
}

impl Splitter for CharacterSplitter {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let one = |(index, (start, letter)): (usize, (usize, char))| {
            if index.is_multiple_of(BETWEEN_CHECKS) {
                task.check()?;
            }
            let id = self.ids.get(&letter).copied().or(self.unknown).ok_or_else(|| {
                err!(Argument, "the character {letter:?} at byte {start} is not in the vocabulary")
                    .hint("leave it out of the text, or give the tokenizer an `unknown` token")
            })?;
            Ok((id, start..start + letter.len_utf8()))
        };
        text.char_indices().enumerate().map(one).collect()
    }
}

struct WordSplitter {
    ids: HashMap<String, u32>,
    unknown: Option<u32>,
}

impl Splitter for WordSplitter {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let one = |(index, (word, place)): (usize, (&str, Range<usize>))| {
            if index.is_multiple_of(BETWEEN_CHECKS) {
                task.check()?;
            }
            let id = self.ids.get(word).copied().or(self.unknown).ok_or_else(|| {
                let shown: String = word.chars().take(SHOWN).collect();
                let dots = if shown.len() < word.len() { ".." } else { "" };
                err!(Argument, "the word `{shown}{dots}` at byte {} is not in the vocabulary", place.start)
                    .maybe_hint(names::suggestion(word, self.ids.keys().map(String::as_str)))
            })?;
            Ok((id, place))
        };
        words(text).enumerate().map(one).collect()
    }
}

/// Iterates over the words between white space, and their places.
fn words(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut start = 0;
    text.split(char::is_whitespace).filter_map(move |word| {
        let place = start..start + word.len();
        let after = text.get(place.end..).and_then(|rest| rest.chars().next());
        start = place.end + after.map_or(0, char::len_utf8);
        (!word.is_empty()).then_some((word, place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        Ok(tokenizer.encode(text, None, &Task::default())?.ids)
    }

    #[test]
    fn characters_stand_for_themselves() {
        let plain = Tokenizer::characters(list(&["a", "b", " ", "é", "<bos>"]), Some("<bos>"), None).unwrap();
        assert_eq!(ids(&plain, "ab é").unwrap(), [0, 1, 2, 3]);
        assert_eq!(plain.decode(&[4, 0, 2, 3]).unwrap(), "<bos>a é");
        assert_eq!(plain.encode("a", Some(true), &Task::default()).unwrap().ids, [4, 0]);
        assert!(ids(&plain, "").unwrap().is_empty());
        let strange = ids(&plain, "abc").unwrap_err();
        assert_eq!(strange.message, "the character 'c' at byte 2 is not in the vocabulary");
        let tolerant = Tokenizer::characters(list(&["a", "?"]), None, Some("?")).unwrap();
        assert_eq!(ids(&tolerant, "ac?").unwrap(), [0, 1, 1]);
    }

    #[test]
    fn words_stand_between_white_space() {
        let plain = Tokenizer::words(list(&["5", "+", "7", "=", "twelve"]), None, None).unwrap();
        let tokens = plain.encode(" 5 +\n7\u{2003}= ", None, &Task::default()).unwrap();
        assert_eq!(tokens.ids, [0, 1, 2, 3]);
        assert_eq!(tokens.offsets, [1..2, 3..4, 5..6, 9..10]);
        assert_eq!(plain.decode(&tokens.ids).unwrap(), "5 + 7 =");
        let slip = ids(&plain, "5 twelv").unwrap_err();
        assert_eq!(slip.message, "the word `twelv` at byte 2 is not in the vocabulary");
        assert_eq!(slip.hint.unwrap(), "did you mean `twelve`?");
        let tolerant = Tokenizer::words(list(&["a", "<unk>"]), None, Some("<unk>")).unwrap();
        assert_eq!(ids(&tolerant, "a z <unk>").unwrap(), [0, 1, 1]);
    }

    #[test]
    fn bad_lists_are_refused() {
        let words = |names: &[&str]| Tokenizer::words(list(names), None, None).unwrap_err().message;
        assert!(words(&[]).contains("no token"));
        assert!(words(&["a", ""]).contains("an empty one"));
        assert!(words(&["a", "a"]).contains("`a` as 0 and as 1"));
        assert!(words(&["a b"]).contains("\"a b\""));
        let missing = Tokenizer::characters(list(&["a"]), Some("<bos>"), None).unwrap_err();
        assert_eq!(missing.message, "the tokenizer has no token `<bos>`");
    }
}
