//! The pen: draws words and templates, by the rules of the split.

#[cfg(test)]
use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::Split;
use super::topics::Topic;
use super::writer::Writer;

/// One in so many entries of a list is held out, the last of each such group.
const HELD_EVERY: usize = 6;

/// Whether an entry of a list belongs to the held-out split.
pub fn is_held(index: usize) -> bool {
    index % HELD_EVERY == HELD_EVERY - 1
}

pub struct Pen {
    pub out: Writer,
    pub topic: &'static Topic,
    pub split: Split,
    /// How many of a hundred nouns that can be explained in parentheses are.
    pub explained: usize,
    /// The institutions that this document has introduced, by their initials.
    pub introduced: Vec<String>,
    rng: ChaCha8Rng,
    /// The nouns of this sentence, which does not use one twice.
    used: Vec<&'static str>,
    /// Which templates were drawn, for the test that all of them are.
    #[cfg(test)]
    pub drawn: BTreeMap<(usize, usize), u128>,
}

impl Pen {
    pub fn new(rng: ChaCha8Rng, split: Split, topic: &'static Topic) -> Self {
        Self {
            out: Writer::default(),
            topic,
            split,
            explained: 0,
            introduced: Vec::new(),
            rng,
            used: Vec::new(),
            #[cfg(test)]
            drawn: BTreeMap::new(),
        }
    }

    /// A number below `count`, the same on every machine; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.rng.next_u32()) * count as u64) >> 32) as usize
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Any entry of a list.
    pub fn any<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(list.len());
        list.get(at).copied()
    }

    /// Any word of a list.
    pub fn word(&mut self, list: &[&'static str]) -> &'static str {
        self.any(list).unwrap_or_default()
    }

    /// A word that the sentence does not have yet, as far as the list reaches.
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

    /// A new sentence, which may use all words again.
    pub fn forget_words(&mut self) {
        self.used.clear();
    }

    /// The index of an entry of the split's part of a list: of a template, or a name.
    pub fn index<T>(&mut self, list: &[T]) -> usize {
        let held = list.len() / HELD_EVERY;
        let at = match self.split {
            Split::Held if held > 0 => self.below(held) * HELD_EVERY + HELD_EVERY - 1,
            Split::Held => self.below(list.len()),
            Split::Train => {
                let open = self.below(list.len() - held);
                // The open entries before it are five in each whole group.
                open + open / (HELD_EVERY - 1)
            }
        };
        #[cfg(test)]
        self.drawn.entry((list.as_ptr() as usize, list.len())).and_modify(|seen| *seen |= 1 << at).or_insert(1 << at);
        at
    }

    /// An entry of the split's part of a list.
    pub fn own(&mut self, list: &[&'static str]) -> &'static str {
        let at = self.index(list);
        list.get(at).copied().unwrap_or_default()
    }

    /// Whether these words may stand together in this split.
    pub fn allowed(&self, words: &[&str]) -> bool {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
            // FNV-1a, whose low bits are weak: the high ones decide.
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let held = (hash >> 33).is_multiple_of(HELD_EVERY as u64);
        held == (self.split == Split::Held)
    }
}
