//! Counting n-grams: one sort for the longest, and one for each shorter length.

use rayon::prelude::*;

use super::Ngram;
use super::level::{LONGEST, NgramLevel, key, last};
use crate::common::*;

/// Approximate peak memory per token of text: keys that are being sorted, and finished levels.
const BYTES_PER_TOKEN: u128 = 80;

/// Upper bound of the ids that fit into a key.
const MOST_TOKENS: usize = 1 << 24;

impl Ngram {
    /// Counts the n-grams of texts up to `order` tokens. No n-gram crosses texts.
    pub fn fit(
        texts: &mut dyn FnMut() -> Result<Option<Vec<u32>>>,
        order: usize,
        vocab: usize,
        task: &Task,
    ) -> Result<Self> {
        if !(1..=LONGEST).contains(&order) {
            return Err(err!(Argument, "expected an order from 1 to {LONGEST}, found {order}").about("order"));
        }
        if !(1..=MOST_TOKENS).contains(&vocab) {
            bail!(Argument, "expected a vocabulary of 1 to {MOST_TOKENS} tokens, found {vocab}");
        }
        let bar = task.begin("counting tokens", None);
        let mut found = NgramLists { longest: Vec::new(), beginnings: vec![Vec::new(); order] };
        while let Some(ids) = texts()? {
            task.check()?;
            if let Some(strange) = ids.iter().find(|id| **id as usize >= vocab) {
                bail!(Index, "expected token ids below {vocab}, found {strange}");
            }
            found.add(&ids, order)?;
            bar.advance(ids.len() as u64);
        }
        if found.beginnings.iter().all(Vec::is_empty) && found.longest.is_empty() {
            return Err(err!(Argument, "expected text to count n-grams in, found none").about("text"));
        }
        let levels = task.apart(move || Ok(found.levels()))?;
        Ok(Self { vocab, levels })
    }
}

struct NgramLists {
    /// The n-grams of the maximum length, once for each occurrence.
    longest: Vec<u128>,
    /// Beginnings of texts, by length: they are not the end of a longer n-gram.
    beginnings: Vec<Vec<u128>>,
}

impl NgramLists {
    fn add(&mut self, ids: &[u32], order: usize) -> Result<()> {
        let tokens = (self.longest.len() + ids.len()) as u128;
        if tokens >= u128::from(u32::MAX) {
            return Err(err!(Argument, "expected fewer than {} tokens to count n-grams in, found more", u32::MAX)
                .hint("take a part of the text"));
        }
        if self.longest.len() + ids.len() > self.longest.capacity() {
            memory::check(tokens * BYTES_PER_TOKEN, || format!("the n-grams of {tokens} tokens"))?;
        }
        self.longest.extend(ids.windows(order).map(key));
        for (length, beginnings) in (1..order).zip(&mut self.beginnings) {
            beginnings.extend(ids.get(..length).map(key));
        }
        Ok(())
    }

    /// Computes the levels, beginning with the shortest. The longest n-grams count their occurrences; each shorter one
    /// counts the longer ones that end with it, that is, the different tokens before it, and one more if a text begins
    /// with it.
    fn levels(mut self) -> Vec<NgramLevel> {
        let order = self.beginnings.len();
        self.longest.par_sort_unstable();
        let (keys, counts) = counted(self.longest);
        let mut levels = vec![NgramLevel::new(keys, counts)];
        for length in (1..order).rev() {
            let longer = levels.last().map(NgramLevel::keys).unwrap_or_default();
            let mut shorter: Vec<u128> = parallel::map(longer.len(), &|at| last(longer[at], length));
            if let Some(beginnings) = self.beginnings.get_mut(length - 1) {
                beginnings.sort_unstable();
                beginnings.dedup();
                shorter.append(beginnings);
            }
            shorter.par_sort_unstable();
            let (keys, counts) = counted(shorter);
            levels.push(NgramLevel::new(keys, counts));
        }
        levels.reverse();
        levels
    }
}

/// Returns the distinct values of a sorted list, with their counts.
fn counted(mut sorted: Vec<u128>) -> (Vec<u128>, Vec<u32>) {
    let counts = sorted.chunk_by(|a, b| a == b).map(|same| same.len() as u32).collect();
    sorted.dedup();
    sorted.shrink_to_fit();
    (sorted, counts)
}
