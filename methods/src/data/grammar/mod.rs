//! The labelled language: endless English and code with ground truth for every token.
//!
//! docs/grammar.md describes it, phenomenon by phenomenon.

mod clauses;
mod fill;
mod hosts;
pub mod labels;
mod lexicon;
pub(super) mod pen;
pub(super) mod people;
pub(super) mod phenomena;
mod places;
mod shapes;
mod slot;
pub(super) mod topics;
mod weights;
pub(super) mod words;
pub(super) mod world;
mod writer;

#[cfg(test)]
mod tests;

use super::{Document, Documents};
use crate::common::*;
use labels::{Col, value};
use pen::Pen;
use topics::{SOFTWARE, TOPICS, Topic};

pub use weights::{Mix, PHENOMENA};

/// The split of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The split for training.
    Train,
    /// Templates, names and combinations that [`Split::Train`] never has, for evaluation.
    Held,
}

impl Split {
    /// Returns the origin of a document.
    fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Held => "held",
        }
    }
}

/// The size of the groups of a list of which one entry, the last, is held out.
const HELD_EVERY: usize = 6;

/// Returns whether an entry of a list belongs to the held-out split.
pub fn is_held(index: usize) -> bool {
    index % HELD_EVERY == HELD_EVERY - 1
}

/// The minimum of bytes in a document; `LONGEST` is the maximum: some 60 to 300 words.
const SHORTEST: usize = 340;
const LONGEST: usize = 1700;

/// Percentage of phrases that are explained in parentheses, except in the phenomenon `parentheses`.
const EXPLAINED: usize = 10;

/// An endless stream of documents. Each depends only on the seed, the mix, the split and its number.
#[derive(Debug, Clone)]
pub struct Grammar {
    seed: u64,
    mix: Mix,
    split: Split,
    number: u64,
}

impl Grammar {
    pub fn new(seed: u64, mix: &Mix, split: Split) -> Self {
        Self { seed, mix: mix.clone(), split, number: 0 }
    }

    /// Skips documents.
    pub fn skip(&mut self, documents: u64) {
        self.number = self.number.saturating_add(documents);
    }

    /// Returns the document of a number.
    pub fn document(&self, number: u64) -> Document {
        let pen = self.write(number);
        let (text, marks) = pen.out.finish();
        let origin = format!("grammar, {}, seed {}, document {number}", self.split.name(), self.seed);
        Document { marks: Some(marks), ..Document::whole(text, origin) }
    }

    fn write(&self, number: u64) -> Pen {
        let purpose = match self.split {
            Split::Train => "grammar",
            Split::Held => "grammar, held out",
        };
        let mut pen = Pen::new(stream(self.seed, purpose, number), self.split, &TOPICS[0]);
        pen.explained = EXPLAINED;
        pen.shapes = self.mix.shapes();
        let code = pen.below(1 << 24) as f64 / f64::from(1 << 24) < self.mix.code();
        pen.topic = topic(&mut pen, code);
        let bytes = SHORTEST + pen.below(LONGEST - SHORTEST);
        let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
        let topic = value(&topics, pen.topic.name);
        if code {
            phenomena::code::document(&mut pen, bytes);
        } else {
            clauses::prose(&mut pen, &self.mix, bytes);
        }
        pen.out.mark_below(0, Col::Topic, 0, topic);
        pen
    }
}

fn topic(pen: &mut Pen, code: bool) -> &'static Topic {
    let at = pen.below(TOPICS.len());
    let software = || TOPICS.iter().find(|topic| topic.name == SOFTWARE);
    let drawn = TOPICS.get(at).unwrap_or(&TOPICS[0]);
    if code { software().unwrap_or(drawn) } else { drawn }
}

impl Documents for Grammar {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        task.check()?;
        let document = self.document(self.number);
        self.skip(1);
        Ok(Some(document))
    }
}
