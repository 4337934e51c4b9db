//! The pen draws words and templates that the split allows, and writes them.

#[cfg(test)]
use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::topics::Topic;
use super::writer::MarkedWriter;
use super::{HELD_EVERY, Split};

pub struct Pen {
    pub out: MarkedWriter,
    pub topic: &'static Topic,
    pub split: Split,
    /// Percentage of the phrases that can be explained in parentheses and are.
    pub explained: usize,
    /// Percentage of the sentences of some tasks whose template is derived from phrases.
    pub shapes: usize,
    /// The institutions that this document has introduced, by their initials.
    pub introduced: Vec<String>,
    rng: ChaCha8Rng,
    /// The words of this sentence, none of which is used twice.
    used: Vec<&'static str>,
    /// The templates drawn so far, for the test that all of them are used.
    #[cfg(test)]
    pub drawn: BTreeMap<(usize, usize), u128>,
}

impl Pen {
    pub fn new(rng: ChaCha8Rng, split: Split, topic: &'static Topic) -> Self {
        Self {
            out: MarkedWriter::default(),
            topic,
            split,
            explained: 0,
            shapes: 0,
            introduced: Vec::new(),
            rng,
            used: Vec::new(),
            #[cfg(test)]
            drawn: BTreeMap::new(),
        }
    }

    /// Returns a random number below `count`, the same on every machine; 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.rng.next_u32()) * count as u64) >> 32) as usize
    }

    /// Returns true with a probability in percent.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Returns whether a sentence has a template that is derived from phrases. Nothing is drawn where none has.
    pub fn is_shaped(&mut self) -> bool {
        self.shapes > 0 && self.chance(self.shapes)
    }

    /// Returns a random entry of a list.
    pub fn any<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(list.len());
        list.get(at).copied()
    }

    /// Returns a random word of a list.
    pub fn word(&mut self, list: &[&'static str]) -> &'static str {
        self.any(list).unwrap_or_default()
    }

    /// Returns a random word that the sentence does not have yet, if a few draws find one.
    pub fn fresh(&mut self, list: &[&'static str]) -> &'static str {
        let mut word = self.word(list);
        for _ in 0..8 {
            if !self.used.contains(&word) {
                break;
            }
            word = self.word(list);
        }
        self.used.push(word);
        word
    }

    /// Begins a sentence, which may use all words again.
    pub fn forget_words(&mut self) {
        self.used.clear();
    }

    /// Returns the index of a random entry of a list that belongs to the split.
    pub fn index<T>(&mut self, list: &[T]) -> usize {
        let held = list.len() / HELD_EVERY;
        let at = match self.split {
            Split::Held if held > 0 => self.below(held) * HELD_EVERY + HELD_EVERY - 1,
            Split::Held => self.below(list.len()),
            Split::Train => {
                let open = self.below(list.len() - held);
                // Each group before it has five entries that are not held out.
                open + open / (HELD_EVERY - 1)
            }
        };
        #[cfg(test)]
        self.drawn.entry((list.as_ptr() as usize, list.len())).and_modify(|seen| *seen |= 1 << at).or_insert(1 << at);
        at
    }

    /// Returns a random entry of a list that belongs to the split.
    pub fn own(&mut self, list: &[&'static str]) -> &'static str {
        let at = self.index(list);
        list.get(at).copied().unwrap_or_default()
    }

    /// Returns whether the split may combine these words.
    pub fn allowed(&self, words: &[&str]) -> bool {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
            // FNV-1a. Its low bits are weak, so the high ones decide.
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let held = (hash >> 33).is_multiple_of(HELD_EVERY as u64);
        held == (self.split == Split::Held)
    }
}
