//! Regularisation by hooks: dropout on embeddings and on the outputs of attention and MLP, the sizes of neurons, and vectors
//! that are added.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::added::BoundVector;
use crate::base::Result;
use crate::model::hooks::{At, Hooks};
use crate::model::site::{Site, SiteKind};
use crate::tensor::{DType, Tensor};

/// Hooks that run a model up to its final norm, with dropout on the way (Radford et al. 2018, section 4.1), add vectors at
/// sites, and add up the sizes of neurons where these are asked for.
pub struct ToTheLastNorm<'a> {
    /// The dropout probability.
    pub share: f64,
    pub random: ChaCha8Rng,
    pub added: &'a [BoundVector],
    /// Whether the sizes of neurons are added up.
    pub adds_up: bool,
    /// The sum of the sizes of all neurons at all tokens so far.
    pub sizes: Option<Tensor>,
    pub found: Option<Tensor>,
}

impl Hooks for ToTheLastNorm<'_> {
    fn wants(&self, site: Site) -> bool {
        site.kind == SiteKind::FinalNorm
            || (self.share > 0.0 && is_written(site))
            || (self.adds_up && site.kind == SiteKind::MlpHidden)
            || self.added.iter().any(|added| added.site == site)
    }

    fn on(&mut self, at: &At, x: &Tensor) -> Result<Option<Tensor>> {
        if at.site.kind == SiteKind::FinalNorm {
            self.found = Some(x.clone());
            return Ok(None);
        }
        if at.site.kind == SiteKind::MlpHidden {
            let own = x.abs()?.sum_all()?;
            self.sizes = Some(match self.sizes.take() {
                Some(sizes) => (sizes + own)?,
                None => own,
            });
            return Ok(None);
        }
        let dropped = if self.share > 0.0 && is_written(at.site) { Some(self.dropped(x)?) } else { None };
        match self.added.iter().find(|added| added.site == at.site) {
            Some(added) => added.added_to(dropped.as_ref().unwrap_or(x)).map(Some),
            None => Ok(dropped),
        }
    }

    fn last(&self) -> Option<Site> {
        Some(Site::new(SiteKind::FinalNorm, 0))
    }
}

impl ToTheLastNorm<'_> {
    /// Sets a random share of the elements to 0, and scales the others up, so that the mean is preserved.
    fn dropped(&mut self, x: &Tensor) -> Result<Tensor> {
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let limit = (self.share * f64::from(u32::MAX)) as u32;
        let mask: Vec<f32> =
            (0..x.elem_count()).map(|_| if self.random.next_u32() < limit { 0.0 } else { kept }).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        let mask = if x.dtype() == DType::F32 { mask } else { mask.to_dtype(x.dtype())? };
        Ok((x * mask)?)
    }
}

/// Returns whether a site is what is written to the residual stream, which dropout is applied to.
fn is_written(site: Site) -> bool {
    matches!(site.kind, SiteKind::Embed | SiteKind::AttnOut | SiteKind::MlpOut | SiteKind::LayerOut)
}
