//! A text as a model reads it: token ids, and where in the text each of them comes from.

use super::Vocab;
use crate::common::*;

crate::options! {
    /// Options of how a text is split into tokens.
    #[derive(Debug, Clone, Copy)]
    pub struct TokensOptions {
        /// Whether the BOS token is put before each text.
        bos: Option<bool> = None => usually("the tokenizer's own rule");
    }
}

crate::text_or_number! {
    /// A token by its id, or by a text that is this token.
    pub enum TokenName {
        Text(String),
        Id(i64),
    }
    wanted "a token, as its text or its id"
}

/// Returns the id of a token, of which there are `count`.
pub fn token_id(id: i64, count: usize) -> Result<u32> {
    let known = u32::try_from(id).ok().filter(|id| (*id as usize) < count);
    known.ok_or_else(|| err!(Argument, "expected token ids from 0 to {}, found {id}", count.saturating_sub(1)))
}

/// One text in tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// The bytes of `text` that each token stands for, in order and without overlap. A token may be a part of a
    /// character; one that was added, or that is the tokenizer's own space, has an empty range.
    pub offsets: Vec<Range<usize>>,
    pub text: String,
    /// The number of tokens added before the text, such as BOS.
    pub front: usize,
    /// The number of tokens added after the text.
    pub back: usize,
    pub(super) vocab: Arc<Vocab>,
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns whether the token at `index` was added and is not part of the text.
    pub fn is_added(&self, index: usize) -> bool {
        index < self.front || index >= self.len().saturating_sub(self.back)
    }

    /// Returns the readable text of each token; a byte that is not a character is written as `<0xE2>`.
    pub fn strings(&self) -> Result<Vec<String>> {
        self.ids.iter().map(|id| self.vocab.text_of(*id)).collect()
    }

    /// Finds the first and the last of the tokens that share a byte with `part`, for each occurrence in the text. Parts
    /// of words are found, too: `cat` occurs in `category`.
    pub fn positions(&self, part: &str) -> Result<Vec<(usize, usize)>> {
        if part.is_empty() {
            return Err(err!(Argument, "expected a word to look for, found an empty text").about("part"));
        }
        let places = self.text.match_indices(part).map(|(start, found)| start..start + found.len());
        Ok(places.filter_map(|place| self.covering(place)).collect())
    }

    /// Finds the first and the last of the tokens that share a byte with this part of the text.
    pub fn covering(&self, place: Range<usize>) -> Option<(usize, usize)> {
        let shares = |range: &Range<usize>| range.start < place.end && range.end > place.start;
        // Ranges ascend, so the search begins where they reach the place, wherever empty ones stand among them.
        let inside = self.front..self.len().saturating_sub(self.back);
        let offsets = self.offsets.get(inside)?;
        let from = offsets.partition_point(|range| range.end <= place.start);
        let until = offsets.partition_point(|range| range.start < place.end);
        let candidates = offsets.get(from..until)?;
        let first = candidates.iter().position(shares)?;
        let last = candidates.iter().rposition(shares)?;
        Some((self.front + from + first, self.front + from + last))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Task;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn words_are_found_by_the_tokens_that_share_a_byte_with_them() {
        let names = ["<s>", "the", "cat", "sat", "."].map(String::from);
        let tokenizer = Tokenizer::words(names.to_vec(), Some("<s>"), None).unwrap();
        let tokens = tokenizer.encode("the cat sat the", Some(true), &Task::default()).unwrap();
        assert_eq!(tokens.ids, [0, 1, 2, 3, 1]);
        assert_eq!((tokens.front, tokens.back), (1, 0));
        assert!(tokens.is_added(0) && !tokens.is_added(1) && !tokens.is_added(4));
        assert_eq!(tokens.positions("the").unwrap(), [(1, 1), (4, 4)]);
        assert_eq!(tokens.positions("e cat s").unwrap(), [(1, 3)]);
        assert_eq!(tokens.positions("dog").unwrap(), []);
        // A blank between words belongs to no token.
        assert_eq!(tokens.positions(" ").unwrap(), []);
        assert!(tokens.positions("").is_err());
    }

    #[test]
    fn a_part_of_a_character_is_found_by_its_character() {
        let tokenizer = Tokenizer::characters(["é", "a"].map(String::from).to_vec(), None, None).unwrap();
        let tokens = tokenizer.encode("aéé", None, &Task::default()).unwrap();
        assert_eq!(tokens.offsets, [0..1, 1..3, 3..5]);
        assert_eq!(tokens.positions("é").unwrap(), [(1, 1), (2, 2)]);
        assert_eq!(tokens.strings().unwrap(), ["a", "é", "é"]);
    }
}
