//! Hooks that a model keeps: they act in every pass of it, before those of the call.

use std::fmt;
use std::sync::Arc;

use super::{At, BoundHook, Chain, Hooks};
use crate::base::Result;
use crate::model::site::Site;
use crate::tensor::Tensor;

/// A function that makes the hook for one pass.
type MakeHooks = dyn Fn() -> Result<Vec<BoundHook<'static>>> + Send + Sync;

/// A hook that a model keeps.
#[derive(Clone)]
pub struct KeptHook {
    /// Description of what the hook does.
    told: String,
    /// Numbers that the hook acts with, which tell it from another one of the same words.
    numbers: Vec<Tensor>,
    make: Arc<MakeHooks>,
}

impl KeptHook {
    pub fn new(
        told: String,
        numbers: Vec<Tensor>,
        make: impl Fn() -> Result<Vec<BoundHook<'static>>> + Send + Sync + 'static,
    ) -> Self {
        Self { told, numbers, make: Arc::new(make) }
    }

    pub fn told(&self) -> &str {
        &self.told
    }

    pub fn numbers(&self) -> &[Tensor] {
        &self.numbers
    }

    pub fn bound(&self) -> Result<Vec<BoundHook<'static>>> {
        (self.make)()
    }
}

impl fmt::Debug for KeptHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// The hooks of a model, then those of the call.
pub struct JoinedHooks<'a> {
    pub kept: Chain<'static>,
    pub then: &'a mut dyn Hooks,
}

impl Hooks for JoinedHooks<'_> {
    fn wants(&self, site: Site) -> bool {
        self.kept.wants(site) || self.then.wants(site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let changed = if self.kept.wants(at.site) { self.kept.on(at, x)? } else { None };
        if !self.then.wants(at.site) {
            return Ok(changed);
        }
        let then = self.then.on(at, changed.as_ref().unwrap_or(x))?;
        Ok(then.or(changed))
    }

    fn last(&self) -> Option<Site> {
        self.then.last()
    }
}
