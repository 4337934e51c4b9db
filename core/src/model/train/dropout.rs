//! Regularisation by hooks: dropout on embeddings and on the outputs of attention and MLP, and the sizes of neurons.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::base::Result;
use crate::model::hooks::{At, Hooks};
use crate::model::site::{Site, SiteKind};
use crate::tensor::{DType, Tensor};

/// Hooks that run a model up to its final norm, with dropout on the way (Radford et al. 2018, section 4.1), and add up the
/// sizes of neurons where these are asked for.
pub struct ToTheLastNorm {
    /// The dropout probability.
    pub share: f64,
    pub random: ChaCha8Rng,
    /// Whether the sizes of neurons are added up.
    pub adds_up: bool,
    /// The sum of the sizes of all neurons at all tokens so far.
    pub sizes: Option<Tensor>,
    pub found: Option<Tensor>,
}

impl Hooks for ToTheLastNorm {
    fn wants(&self, site: Site) -> bool {
        let written = matches!(site.kind, SiteKind::Embed | SiteKind::AttnOut | SiteKind::MlpOut | SiteKind::LayerOut);
        site.kind == SiteKind::FinalNorm
            || (self.share > 0.0 && written)
            || (self.adds_up && site.kind == SiteKind::MlpHidden)
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
        // Kept elements are scaled up, so that the mean is preserved.
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let limit = (self.share * f64::from(u32::MAX)) as u32;
        let mask: Vec<f32> =
            (0..x.elem_count()).map(|_| if self.random.next_u32() < limit { 0.0 } else { kept }).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        let mask = if x.dtype() == DType::F32 { mask } else { mask.to_dtype(x.dtype())? };
        Ok(Some((x * mask)?))
    }

    fn last(&self) -> Option<Site> {
        Some(Site::new(SiteKind::FinalNorm, 0))
    }
}
