//! Hooks bound to a model, in the order given, and a recorder after them.

use super::site_part::SitePart;
use super::{At, Hooks, checks};
use crate::base::Result;
use crate::model::cache::Recorder;
use crate::model::config::Config;
use crate::model::padding::attended;
use crate::model::site::{Place, Site, SiteKind, select};
use crate::tensor::Tensor;

crate::options! {
    /// Options of the part of a site that a hook acts on.
    pub struct HookOptions {
        /// A position or several; negative ones count from the end of each text.
        pos: Option<Vec<i64>> = None => usually("all");
        /// A head or several, where the site has heads.
        heads: Option<Vec<usize>> = None => usually("all");
    }
}

/// An edit of a hook's part of an activation.
pub trait Edit {
    /// Returns the new values of the part, or none to leave it unchanged. `place` has the head, where the hook names
    /// one; `positions` are those of the hook that this pass computes.
    fn edit(&mut self, at: &At, place: Place, positions: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>>;

    /// Returns whether the edit may change what it gets; one that only reads returns false.
    fn changes(&self) -> bool {
        true
    }
}

/// A hook bound to the places of one model.
pub struct BoundHook<'a> {
    places: Vec<Place>,
    positions: Option<Vec<i64>>,
    edit: Box<dyn Edit + 'a>,
}

impl<'a> BoundHook<'a> {
    /// Binds a hook to the places of a model. `heads` names heads where the site names none.
    pub fn new(
        config: &Config,
        site: &str,
        heads: Option<&[usize]>,
        positions: Option<Vec<i64>>,
        edit: Box<dyn Edit + 'a>,
    ) -> Result<Self> {
        let mut places = match heads {
            None => select(config, site)?,
            Some(heads) => {
                let each = heads.iter().map(|head| select(config, &format!("{site}.{head}")));
                each.collect::<Result<Vec<_>>>()?.concat()
            }
        };
        // A head that is named twice is changed once.
        places.sort();
        places.dedup();
        Ok(Self { places, positions, edit })
    }

    /// Returns whether the hook acts at a site.
    pub fn wants(&self, site: Site) -> bool {
        self.places.iter().any(|place| place.site == site)
    }

    /// Lists the places that the hook may change.
    pub fn changed(&self) -> &[Place] {
        if self.edit.changes() { &self.places } else { &[] }
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let mut changed = None;
        for place in self.places.iter().filter(|place| place.site == at.site) {
            let x = changed.as_ref().unwrap_or(x);
            let picked = SitePart::new(at, self.positions.as_deref(), place.head)?;
            if picked.is_empty() {
                continue;
            }
            let part = if picked.is_all() { x.clone() } else { picked.taken(x)? };
            let Some(edited) = self.edit.edit(at, *place, picked.positions(), &part)? else { continue };
            checks::same_form(place, &part, &edited)?;
            checks::no_new_nan(place, &part, &edited)?;
            let edited = if at.site.kind == SiteKind::Pattern { attended(at, &edited)? } else { edited };
            changed = Some(if picked.is_all() { edited } else { picked.put(x, edited)? });
        }
        Ok(changed)
    }
}

/// Hooks one after the other, then the recorder.
#[derive(Default)]
pub struct Chain<'a> {
    pub hooks: Vec<BoundHook<'a>>,
    pub recorder: Option<Recorder>,
    /// Whether only recorded activations are needed, so that the pass may end after the last of them.
    pub recording_only: bool,
}

impl Hooks for Chain<'_> {
    fn wants(&self, site: Site) -> bool {
        self.hooks.iter().any(|hook| hook.wants(site)) || self.recorder.as_ref().is_some_and(|r| r.wants(site))
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let mut changed: Option<Tensor> = None;
        for hook in &mut self.hooks {
            if hook.wants(at.site)
                && let Some(next) = hook.on(at, changed.as_ref().unwrap_or(x))?
            {
                changed = Some(next);
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.on(at, changed.as_ref().unwrap_or(x))?;
        }
        Ok(changed)
    }

    fn last(&self) -> Option<Site> {
        self.recorder.as_ref().filter(|_| self.recording_only).and_then(|recorder| recorder.last())
    }
}
