//! Where harvested activations go, and what comes of them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::base::{Result, Task};
use crate::tensor::Tensor;

/// The activations of some positions at several sites, and where they are from.
#[derive(Debug, Clone)]
pub struct Block {
    /// `[positions, width]` for each site, in f32 on the processor.
    pub activations: Vec<Tensor>,
    /// The token that stands at each.
    pub tokens: Vec<u32>,
    /// The number of the row of tokens that it stands in, as the text was packed.
    pub rows: Vec<u32>,
    /// Where in that row it stands.
    pub positions: Vec<u32>,
}

impl Block {
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Blocks one after the other: from a model as it runs, or from a store.
pub trait Blocks {
    /// The next one, never an empty one; none when there are no more.
    fn next(&mut self, task: &Task) -> Result<Option<Block>>;
}

/// How far a harvest has come: all that it needs to go on there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// How many rows of tokens were read.
    pub read: u64,
    /// How many positions of them were kept.
    pub kept: u64,
    /// A hash of all tokens that were read, which tells one text from another.
    pub tokens: String,
    /// Of the activations as the model computed them, site by site.
    pub statistics: Vec<Moments>,
}

impl Progress {
    pub fn new(widths: &[usize]) -> Self {
        let statistics = widths.iter().map(|width| Moments::new(*width)).collect();
        Self { read: 0, kept: 0, tokens: String::new(), statistics }
    }
}

/// What takes the blocks of a harvest.
pub trait Sink {
    /// Takes a block; `progress` is how far the harvest has come with it. It may say that it has enough.
    fn take(&mut self, block: Block, progress: &Progress, task: &Task) -> Result<ControlFlow<()>>;

    /// There are no more. It is not called behind a sink that had enough.
    fn finish(&mut self, progress: &Progress, task: &Task) -> Result<()>;
}

/// Gives every block to a function, as a fit does that reads from the model itself.
pub struct Streamed<F>(pub F);

impl<F: FnMut(Block) -> Result<ControlFlow<()>>> Sink for Streamed<F> {
    fn take(&mut self, block: Block, _progress: &Progress, _task: &Task) -> Result<ControlFlow<()>> {
        (self.0)(block)
    }

    fn finish(&mut self, _progress: &Progress, _task: &Task) -> Result<()> {
        Ok(())
    }
}
