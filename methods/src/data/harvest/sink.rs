//! Receivers of harvested activations.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::common::*;

/// The activations of some positions at several sites, with their origin.
#[derive(Debug, Clone)]
pub struct ActivationBlock {
    /// `[positions, width]` for each site, in f32 on the CPU.
    pub activations: Vec<Tensor>,
    /// The token at each position.
    pub tokens: Vec<u32>,
    /// The index of the token's row in the packed text.
    pub rows: Vec<u32>,
    /// The position in the row.
    pub positions: Vec<u32>,
}

impl ActivationBlock {
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// An iterator over blocks, from a running model or from a store.
pub trait Blocks {
    /// Returns the next block, which is never empty; none when there are no more.
    fn next(&mut self, task: &Task) -> Result<Option<ActivationBlock>>;
}

/// The progress of a harvest: everything that it needs to resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The number of rows of tokens read.
    pub read: u64,
    /// The number of positions kept.
    pub kept: u64,
    /// A hash of all tokens that were read, which identifies the text.
    pub tokens: String,
    /// Statistics of the activations before they are stored, by site.
    pub statistics: Vec<Moments>,
}

impl Progress {
    pub fn new(widths: &[usize]) -> Self {
        let statistics = widths.iter().map(|width| Moments::new(*width)).collect();
        Self { read: 0, kept: 0, tokens: String::new(), statistics }
    }
}

/// A receiver of the blocks of a harvest.
pub trait Sink {
    /// Receives a block; `progress` includes it. May end the harvest.
    fn take(&mut self, block: ActivationBlock, progress: &Progress, task: &Task) -> Result<ControlFlow<()>>;

    /// Ends the harvest after the last block; not called if `take` ended it.
    fn finish(&mut self, progress: &Progress, task: &Task) -> Result<()>;
}

/// A sink that passes every block to a function, for fits that read from the model itself.
pub struct FunctionSink<F>(pub F);

impl<F: FnMut(ActivationBlock) -> Result<ControlFlow<()>>> Sink for FunctionSink<F> {
    fn take(&mut self, block: ActivationBlock, _progress: &Progress, _task: &Task) -> Result<ControlFlow<()>> {
        (self.0)(block)
    }

    fn finish(&mut self, _progress: &Progress, _task: &Task) -> Result<()> {
        Ok(())
    }
}
