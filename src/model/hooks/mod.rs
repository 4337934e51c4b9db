//! Hooks: what looks at activations while they flow, and may change them.

use std::ops::Range;

use super::batch::Batch;
use super::site::Site;
use crate::base::Result;
use crate::tensor::Tensor;

/// Where and when an activation flows.
#[derive(Debug, Clone)]
pub struct At<'a> {
    pub site: Site,
    /// The texts of this pass; a step of generation has one token a row.
    pub batch: &'a Batch,
    /// The columns of the text that this pass computes: all of it, or one step of generation.
    pub columns: Range<usize>,
    /// 0 for the text itself, 1 for the pass that reads the first generated token, and so on.
    pub step: usize,
}

/// Something that looks at the activations of a forward pass. A site that nobody wants is not materialised.
pub trait Hooks {
    fn wants(&self, site: Site) -> bool;

    /// The activation of a wanted site; what is returned takes its place.
    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>>;

    /// The last site that matters: nothing beyond it is computed. None for the whole model.
    fn last(&self) -> Option<Site>;
}

/// Wants nothing, and lets the pass run to its end.
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
