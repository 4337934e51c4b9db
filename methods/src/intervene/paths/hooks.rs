//! The two passes of path patching, as hooks on batches that have all texts once for each sender.

use crate::common::*;
use crate::model::hooks::{At, Hooks};

/// The first pass: senders of one site write what they do in the other run, and everything after them is frozen.
pub struct FrozenPass<'a> {
    pub senders: &'a [Place],
    /// The senders' site in the other run, `[texts, pos, ..]`.
    pub other: &'a Tensor,
    /// The output of attention and MLPs without a patch, and the embedding where it is the sender.
    pub own: BTreeMap<Site, Tensor>,
    pub are_mlps_held: bool,
    /// The sites that are noted.
    pub wanted: BTreeSet<Site>,
    /// The notes: `[senders * texts, pos, ..]`.
    pub found: BTreeMap<Site, Tensor>,
}

impl FrozenPass<'_> {
    fn site(&self) -> Site {
        self.senders.first().map_or(Site::new(SiteKind::Embed, 0), |place| place.site)
    }

    /// Returns the site where the patch is made: an embedding is patched where it enters the first block.
    fn patched_at(&self) -> Site {
        match self.site().kind {
            SiteKind::Embed => Site::new(SiteKind::ResidPre, 0),
            _ => self.site(),
        }
    }

    /// Returns whether what is written at a site is frozen.
    fn is_held(&self, site: Site) -> bool {
        let sender = self.site();
        match site.kind {
            // What a head changes in its own layer is what it writes.
            SiteKind::AttnOut => site > sender && !(sender.kind == SiteKind::Z && site.layer == sender.layer),
            SiteKind::MlpOut | SiteKind::LayerOut => self.are_mlps_held && site > sender,
            _ => false,
        }
    }

    /// Returns the columns of this pass, once for each sender.
    fn repeated(&self, x: &Tensor, at: &At) -> Result<Tensor> {
        let x = columns(x, at)?;
        Ok(Tensor::cat(&vec![&x; self.senders.len()], 0)?)
    }

    fn patched(&self, at: &At, x: &Tensor) -> Result<Tensor> {
        let other = self.repeated(self.other, at)?.to_dtype(x.dtype())?;
        if self.site().kind == SiteKind::Embed {
            return Ok((x + (other - self.repeated(&self.own[&self.site()], at)?)?)?);
        }
        let texts = self.other.dim(0)?;
        let mut rows = Vec::new();
        for (number, sender) in self.senders.iter().enumerate() {
            let of = |x: &Tensor| x.narrow(0, number * texts, texts);
            rows.push(put(&of(x)?, &of(&other)?, sender.head)?);
        }
        Ok(Tensor::cat(&rows, 0)?)
    }
}

impl Hooks for FrozenPass<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.patched_at() || self.is_held(site) || self.wanted.contains(&site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let changed = if at.site == self.patched_at() {
            Some(self.patched(at, x)?)
        } else if self.is_held(at.site) {
            Some(self.repeated(&self.own[&at.site], at)?)
        } else {
            None
        };
        if self.wanted.contains(&at.site) {
            self.found.insert(at.site, changed.as_ref().unwrap_or(x).clone());
        }
        Ok(changed)
    }
}

/// The second pass: receivers get the noted inputs.
pub struct ReceiverPass<'a> {
    pub places: &'a [Place],
    /// The noted inputs: `[senders * texts, pos, ..]`.
    pub found: &'a BTreeMap<Site, Tensor>,
    /// The residual stream that is unembedded, to which the senders' changes are added, and its value without a patch.
    pub last: (Site, Tensor),
}

impl Hooks for ReceiverPass<'_> {
    fn wants(&self, site: Site) -> bool {
        self.places.iter().any(|place| place.site == site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        let found = &self.found[&at.site];
        let (last, own) = &self.last;
        if at.site == *last {
            let own = columns(own, at)?;
            let own = Tensor::cat(&vec![&own; found.dim(0)? / own.dim(0)?], 0)?;
            return Ok(Some((x + (found - own)?)?));
        }
        let mut changed = x.clone();
        for place in self.places.iter().filter(|place| place.site == at.site) {
            changed = put(&changed, found, place.head)?;
        }
        Ok(Some(changed))
    }
}

/// Returns the columns of a pass.
fn columns(x: &Tensor, at: &At) -> Result<Tensor> {
    Ok(x.narrow(1, at.columns.start, at.columns.len())?)
}

/// Puts `new` in place of `x`, or of one head of it.
fn put(x: &Tensor, new: &Tensor, head: Option<usize>) -> Result<Tensor> {
    let Some(head) = head else { return Ok(new.clone()) };
    let heads = x.dim(2)?;
    let chosen: Vec<u8> = (0..heads).map(|one| u8::from(one == head)).collect();
    let chosen = Tensor::from_vec(chosen, (1, 1, heads, 1), x.device())?.broadcast_as(x.shape())?;
    Ok(chosen.where_cond(new, x)?)
}
