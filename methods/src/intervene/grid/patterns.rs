//! Attention patterns with patched queries or keys, for AtP*.

use super::parts::PatchPart;
use super::replace::Replace;
use crate::common::*;
use crate::model::hooks::{At, Hooks};

/// The queries or keys of one layer, those of both runs, and the pattern of the run that is patched.
pub struct PatternChanges<'a> {
    pub model: &'a Decoder,
    pub batch: &'a Batch,
    pub site: Site,
    /// The site in the run that is patched in.
    pub source: Tensor,
    /// The residual stream before the layer.
    pub stream: Tensor,
    pub pattern: Tensor,
}

impl PatternChanges<'_> {
    /// Returns whether patches at a site act through the pattern of its layer alone: keys that other layers read do
    /// not.
    pub fn are_of(config: &Config, site: Site) -> bool {
        match site.kind {
            SiteKind::Q | SiteKind::QRot => true,
            SiteKind::K | SiteKind::KRot => (0..config.layers).all(|layer| config.keys_from(layer) != Some(site.layer)),
            _ => false,
        }
    }

    /// Returns the pattern with a part patched, less the pattern: `[texts, head, query, key]`.
    pub fn change(&self, part: &PatchPart, task: &Task) -> Result<Tensor> {
        let replace = Replace { site: self.site, parts: std::slice::from_ref(part), source: &self.source };
        let mut hooks = UntilPattern { replace, pattern: Site::new(SiteKind::Pattern, self.site.layer), found: None };
        let start = Site::new(SiteKind::ResidPre, self.site.layer);
        self.model.resumed(self.batch, start, &self.stream, &mut hooks, Logits::Last, task)?;
        let found = hooks.found.ok_or_else(|| err!(Bug, "a pass without its pattern"))?;
        Ok((found - &self.pattern)?)
    }
}

/// A hook that patches, and ends the pass with the pattern.
struct UntilPattern<'a> {
    replace: Replace<'a>,
    pattern: Site,
    found: Option<Tensor>,
}

impl Hooks for UntilPattern<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.pattern || self.replace.wants(site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        if at.site == self.pattern {
            self.found = Some(x.clone());
            return Ok(None);
        }
        self.replace.on(at, x)
    }

    fn last(&self) -> Option<Site> {
        Some(self.pattern)
    }
}
