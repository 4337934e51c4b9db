//! Hooks: they see activations during a forward pass, and may change them.

mod action;
mod chain;
pub mod checks;
mod kept_hook;
mod projection;
mod site_part;

use std::ops::Range;

use super::batch::Batch;
use super::site::Site;
use crate::base::Result;
use crate::tensor::Tensor;
use kernels::Gap;

pub use action::{Action, MeanOptions, PatchSource};
pub use chain::{BoundHook, Chain, Edit, HookOptions};
pub use kept_hook::{JoinedHooks, KeptHook};
pub use projection::Projection;
pub use site_part::{SitePart, one_head};

/// The activation and the pass that a hook is called with.
#[derive(Debug, Clone)]
pub struct At<'a> {
    pub site: Site,
    /// The texts of this pass; a step of generation has one token a row.
    pub batch: &'a Batch,
    /// The columns of the text that this pass computes: all of it, or one step of generation.
    pub columns: Range<usize>,
    /// Step of a generation: 0 for the prompt, 1 for the pass that reads the first generated token, and so on.
    pub step: usize,
    /// The padding of shorter rows.
    pub gap: Option<&'a Gap>,
    /// Whether more passes may follow this one.
    pub may_grow: bool,
}

impl At<'_> {
    /// Counts the tokens of a text that have been read by the end of this pass.
    pub fn read(&self, row: usize) -> usize {
        match self.gap {
            Some(gap) if self.columns.end > gap.width => gap.position(row, self.columns.end),
            _ if self.columns.start == 0 => self.batch.rows()[row].len(),
            _ => self.columns.end,
        }
    }

    /// Returns whether a column of a text, counted from the first pass on, holds a token of it, and not padding.
    pub fn is_text(&self, row: usize, column: usize) -> bool {
        match self.gap {
            Some(gap) => gap.holds(row, column),
            None => self.columns.start > 0 || column < self.batch.rows()[row].len(),
        }
    }

    /// Returns the column of this pass at which a text has a position, if this pass computes it.
    pub fn column(&self, row: usize, position: usize) -> Option<usize> {
        let column = match self.gap {
            Some(gap) if position >= gap.lengths[row] => position - gap.lengths[row] + gap.width,
            _ => position,
        };
        self.columns.contains(&column).then(|| column - self.columns.start)
    }
}

/// The hooks of a forward pass, which see its activations. A site that is not wanted is not materialised.
pub trait Hooks {
    fn wants(&self, site: Site) -> bool;

    /// Receives the activation of a wanted site, which a returned tensor replaces.
    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>>;

    /// Returns the last site that is needed: nothing after it is computed. None for the whole model.
    fn last(&self) -> Option<Site> {
        None
    }
}

/// No hooks: the pass runs to its end.
pub struct NoHooks;

impl Hooks for NoHooks {
    fn wants(&self, _site: Site) -> bool {
        false
    }

    fn on(&mut self, _at: &At, _x: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn last(&self) -> Option<Site> {
        None
    }
}

#[cfg(test)]
mod tests;
