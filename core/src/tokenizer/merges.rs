//! SentencePiece's byte-pair encoding (Kudo and Richardson 2018), as in llama.cpp and llama2.c: neighbours are joined
//! as long as they make a token, the one with the highest score first; characters without a token fall back to bytes.

use std::collections::{HashMap, HashSet};

use super::symbols::{self, Symbols};
use super::vocab::Vocab;
use super::{Splitter, TokenSpan};
use crate::common::*;

pub struct Merges {
    /// The tokens of ordinary text, by their text with spaces written as `space`.
    ids: HashMap<String, u32>,
    /// Scores of the tokens, by id.
    scores: Vec<f32>,
    /// The length of the longest of these tokens, in bytes.
    longest: usize,
    /// The token of each byte.
    bytes: HashMap<u8, u32>,
    /// The token of characters that have neither a token nor tokens of their bytes.
    unknown: Option<u32>,
    /// The space in the names of tokens: `▁`, or a space.
    space: char,
    /// Whether a space is put before a text.
    prefix: bool,
    /// Tokens that are matched before anything else, longest first, by their first byte.
    whole: HashMap<u8, Vec<(String, u32)>>,
}

/// The arguments of [`Merges::new`] beside the vocabulary.
pub struct MergeSettings {
    pub scores: Vec<f32>,
    pub bytes: HashMap<u8, u32>,
    pub unknown: Option<u32>,
    pub space: char,
    pub prefix: bool,
    /// Tokens that are matched wherever their text occurs.
    pub whole: Vec<u32>,
}

impl Merges {
    pub fn new(vocab: &Vocab, parts: MergeSettings) -> Result<Self> {
        let MergeSettings { scores, bytes, unknown, space, prefix, whole } = parts;
        if scores.len() != vocab.size() {
            bail!(Format, "expected a score for each of {} tokens, found {}", vocab.size(), scores.len());
        }
        if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
            bail!(Format, "expected finite scores, found {} for token {id}", scores[id]);
        }
        let reserved: HashSet<u32> = bytes.values().chain(&whole).copied().collect();
        let texts = vocab.iter().filter(|(id, piece)| !piece.special && !reserved.contains(id));
        let ids: HashMap<String, u32> = texts.map(|(id, piece)| (piece.name.clone(), id)).collect();
        let longest = ids.keys().map(String::len).max().unwrap_or(0);
        let whole = by_first_byte(vocab, &whole)?;
        Ok(Self { ids, scores, longest, bytes, unknown, space, prefix, whole })
    }

    /// Returns the token with this text of whole characters, if there is one.
    pub fn id(&self, text: &str) -> Option<u32> {
        if text.len() > self.longest { None } else { self.ids.get(text).copied() }
    }

    pub fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    /// Finds the longest whole token at the beginning of `rest`.
    fn whole_at(&self, rest: &str) -> Option<(usize, u32)> {
        let candidates = self.whole.get(rest.as_bytes().first()?)?;
        let (text, id) = candidates.iter().find(|(text, _)| rest.starts_with(text))?;
        Some((text.len(), *id))
    }

    /// Appends the tokens of a part of the text without whole tokens.
    fn stretch(&self, text: &str, range: Range<usize>, task: &Task, found: &mut Vec<TokenSpan>) -> Result<()> {
        let Some(raw) = text.get(range.clone()).filter(|raw| !raw.is_empty()) else { return Ok(()) };
        let bytes = raw.len() as u128 * symbols::BYTES_PER_CHARACTER as u128;
        memory::check(bytes, || format!("the tokens of {} bytes of text", raw.len()))?;
        let mut spelled = String::with_capacity(raw.len() + self.space.len_utf8());
        if self.prefix {
            spelled.push(self.space);
        }
        spelled.extend(raw.chars().map(|letter| if letter == ' ' { self.space } else { letter }));
        let mut place = SpellingPosition { text, at: range.start, own_space: self.prefix };
        let mut symbols = Symbols::new(&spelled);
        symbols.join(|text| self.id(text).map(|id| self.score(id)), task)?;
        for part in symbols.texts() {
            match self.id(part) {
                Some(id) => found.push((id, place.pass(part))),
                None => self.fall_back(part, &mut place, found)?,
            }
        }
        Ok(())
    }

    /// Appends the bytes of a single character that is not a token; joins are always tokens.
    fn fall_back(&self, part: &str, place: &mut SpellingPosition, found: &mut Vec<TokenSpan>) -> Result<()> {
        let range = place.pass(part);
        let ids: Option<Vec<u32>> = part.bytes().map(|byte| self.bytes.get(&byte).copied()).collect();
        match (ids, self.unknown) {
            (Some(ids), _) => {
                for (index, id) in ids.into_iter().enumerate() {
                    // A space may be written with more bytes than it has; the others get an empty range.
                    let at = |index: usize| (range.start + index).min(range.end);
                    found.push((id, at(index)..at(index + 1)));
                }
                Ok(())
            }
            (None, Some(unknown)) => {
                found.push((unknown, range));
                Ok(())
            }
            (None, None) => Err(err!(Argument, "the tokenizer has no token for {part:?} at byte {}", range.start)
                .hint("leave it out of the text")),
        }
    }
}

impl Splitter for Merges {
    fn split(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let mut found = Vec::new();
        let mut start = 0;
        if !self.whole.is_empty() {
            let mut at = 0;
            while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
                // All tokens of the vocabulary may begin with the same byte.
                task.check()?;
                if let Some((length, id)) = self.whole_at(rest) {
                    self.stretch(text, start..at, task, &mut found)?;
                    found.push((id, at..at + length));
                    at += length;
                    start = at;
                } else {
                    at += rest.chars().next().map_or(1, char::len_utf8);
                }
            }
        }
        self.stretch(text, start..text.len(), task, &mut found)?;
        Ok(found)
    }
}

fn by_first_byte(vocab: &Vocab, ids: &[u32]) -> Result<HashMap<u8, Vec<(String, u32)>>> {
    let mut whole: HashMap<u8, Vec<(String, u32)>> = HashMap::new();
    for id in ids {
        let text = vocab.text_of(*id)?;
        if let Some(first) = text.as_bytes().first() {
            whole.entry(*first).or_default().push((text.clone(), *id));
        }
    }
    for texts in whole.values_mut() {
        texts.sort_by_key(|(text, id)| (std::cmp::Reverse(text.len()), *id));
    }
    Ok(whole)
}

/// The position in the original text while its spelling is read.
struct SpellingPosition<'a> {
    text: &'a str,
    at: usize,
    /// Whether the next character of the spelling is the tokenizer's own space.
    own_space: bool,
}

impl SpellingPosition<'_> {
    /// Reads whole characters of the spelling, and returns the bytes of the text that they stand for.
    fn pass(&mut self, part: &str) -> Range<usize> {
        let own = usize::from(std::mem::take(&mut self.own_space));
        let letters = part.chars().count().saturating_sub(own);
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.chars().take(letters).map(char::len_utf8).sum::<usize>();
        let start = self.at;
        self.at += length;
        start..self.at
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocab::VocabEntry;
    use super::*;
    use proptest::prelude::*;

    /// Makes merges of these tokens with their scores, and of bytes if asked for.
    fn merges(tokens: &[(&str, f32)], fall_back: bool, prefix: bool) -> Merges {
        let mut pieces: Vec<VocabEntry> = tokens.iter().map(|(name, _)| VocabEntry::plain(name.to_string())).collect();
        let mut scores: Vec<f32> = tokens.iter().map(|(_, score)| *score).collect();
        let mut bytes = HashMap::new();
        if fall_back {
            for byte in 0..=255_u8 {
                bytes.insert(byte, pieces.len() as u32);
                pieces.push(VocabEntry { name: format!("<0x{byte:02X}>"), bytes: vec![byte], special: false });
                scores.push(0.0);
            }
        }
        let vocab = Vocab::new((0..).zip(pieces), prefix).unwrap();
        let parts = MergeSettings { scores, bytes, unknown: None, space: '▁', prefix, whole: Vec::new() };
        Merges::new(&vocab, parts).unwrap()
    }

    fn ids(merges: &Merges, text: &str) -> Vec<u32> {
        merges.split(text, &Task::default()).unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// Joins by llama2.c's algorithm: search all neighbours, join the best pair, leftmost first, and repeat.
    fn slowly(merges: &Merges, text: &str) -> Vec<String> {
        let mut parts: Vec<String> = text.chars().map(String::from).collect();
        loop {
            let mut best: Option<(f32, usize)> = None;
            for left in 0..parts.len().saturating_sub(1) {
                if let Some(id) = merges.id(&parts[left..left + 2].concat())
                    && best.is_none_or(|(score, _)| merges.score(id) > score)
                {
                    best = Some((merges.score(id), left));
                }
            }
            let Some((_, left)) = best else { return parts };
            let right = parts.remove(left + 1);
            parts[left].push_str(&right);
        }
    }

    #[test]
    fn the_best_score_goes_first_and_the_leftmost_of_equals() {
        let tokens = [("a", 0.0), ("b", 0.0), ("ab", -1.0), ("ba", -2.0), ("aa", -3.0), ("aba", -4.0)];
        let merges = merges(&tokens, false, false);
        assert_eq!(ids(&merges, "aba"), [5]);
        assert_eq!(ids(&merges, "bab"), [1, 2]);
        assert_eq!(ids(&merges, "aaa"), [4, 0]);
        assert!(ids(&merges, "").is_empty());
    }

    #[test]
    fn strange_characters_are_bytes_or_refused_by_name() {
        let tokens = [("a", 0.0), ("▁", 0.0), ("▁a", -1.0)];
        let found = merges(&tokens, true, true).split("aé a", &Task::default()).unwrap();
        let byte = |byte: u8| 3 + u32::from(byte);
        assert_eq!(found, [(2, 0..1), (byte(0xc3), 1..2), (byte(0xa9), 2..3), (2, 3..5)]);
        let strict = merges(&tokens, false, true).split("aé", &Task::default()).unwrap_err();
        assert_eq!(strict.message, "the tokenizer has no token for \"é\" at byte 1");
    }

    #[test]
    fn a_long_text_is_quick_and_can_be_interrupted() {
        let merges = merges(&[("a", 0.0), ("aa", -1.0), ("aaaa", -2.0)], false, false);
        let text = "a".repeat(1 << 17);
        assert_eq!(ids(&merges, &text).len(), 1 << 15);
        let task = Task::default();
        task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(merges.split(&text, &task), Err(crate::base::Error::interrupted()));
    }

    #[test]
    fn a_score_is_a_finite_number_for_every_token() {
        let vocab =
            |count| Vocab::new((0..count).map(|id: u32| (id, VocabEntry::plain(id.to_string()))), false).unwrap();
        let parts = |scores: &[f32]| MergeSettings {
            scores: scores.to_vec(),
            bytes: HashMap::new(),
            unknown: None,
            space: ' ',
            prefix: false,
            whole: Vec::new(),
        };
        let refused = |count, scores: &[f32]| Merges::new(&vocab(count), parts(scores)).err().unwrap().message;
        assert_eq!(refused(2, &[0.0]), "expected a score for each of 2 tokens, found 1");
        assert_eq!(refused(2, &[0.0, f32::NAN]), "expected finite scores, found NaN for token 1");
    }

    proptest! {
        #[test]
        fn the_heap_joins_as_looking_at_all_pairs_does(
            text in "[abc]{0,24}",
            scores in proptest::collection::vec(-4_i8..4, 9),
        ) {
            let names = ["a", "b", "c", "ab", "bc", "aa", "abc", "bca", "aab"];
            let tokens: Vec<_> = names.into_iter().zip(scores.into_iter().map(f32::from)).collect();
            let merges = merges(&tokens, false, false);
            let slow: Vec<_> = slowly(&merges, &text).iter().map(|part| merges.id(part).unwrap()).collect();
            prop_assert_eq!(ids(&merges, &text), slow);
        }
    }
}
