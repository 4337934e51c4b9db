//! The Jacobian lens: the stream of a layer is carried to the last one by the mean Jacobian of the layers between, and
//! decoded there. The logit lens is the same with the identity in its place.

mod file;
mod fit;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use fit::fit;

use super::lens::{LensOptions, LensReading, lens_of_cache, recorded};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::hooks::Bound;
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{DType, Tensor};

/// The name of the lens.
pub const JACOBIAN_LENS: &str = "Jacobian lens";

crate::options! {
    /// How a Jacobian lens is fitted.
    #[derive(Debug, Clone)]
    pub struct JacobianLensOptions {
        /// Maximum number of tokens of a prompt.
        context: usize = 128 => at_least(2.0);
        /// Number of positions at the beginning of each prompt that are left out.
        skip_first: usize = 16;
        /// Maximum number of prompts.
        prompts: usize = 100 => at_least(1.0);
        /// The layers whose output is read.
        layers: Option<Vec<usize>> = None => usually("all but the last");
    }
}

/// Matrices that carry the outputs of layers to the output of the last one.
#[derive(Debug, Clone)]
pub struct JacobianLens {
    /// J_l by layer, `[d_model, d_model]` in f32, the output dimension first.
    jacobians: BTreeMap<usize, Tensor>,
    /// The number of prompts that they are the mean of.
    prompts: usize,
    d_model: usize,
}

/// What both lenses read in the same run.
pub struct BothLenses {
    pub jacobian: Vec<LensReading>,
    pub logit: Vec<LensReading>,
}

impl JacobianLens {
    /// Refuses matrices of different sizes, and numbers that are none.
    pub fn new(jacobians: BTreeMap<usize, Tensor>, prompts: usize) -> Result<Self> {
        let first = jacobians.values().next();
        let first = first.ok_or_else(|| err!(Format, "expected at least one matrix in a Jacobian lens, found none"))?;
        let d_model = first.dims().first().copied().unwrap_or_default();
        let mut wide = BTreeMap::new();
        for (layer, jacobian) in jacobians {
            if jacobian.dims() != [d_model, d_model] {
                let found = jacobian.dims();
                return Err(err!(Shape, "expected [{d_model}, {d_model}] for layer {layer}, found {found:?}"));
            }
            let jacobian = jacobian.to_dtype(DType::F32)?.contiguous()?;
            let sum = jacobian.abs()?.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Err(err!(Numeric, "expected finite numbers in the Jacobian of layer {layer}, found others"));
            }
            wide.insert(layer, jacobian);
        }
        Ok(Self { jacobians: wide, prompts, d_model })
    }

    /// The layers that it reads, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.jacobians.keys().copied()
    }

    pub fn prompts(&self) -> usize {
        self.prompts
    }

    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// J_l: `[d_model, d_model]`, the output dimension first.
    pub fn jacobian(&self, layer: usize) -> Result<&Tensor> {
        self.jacobians.get(&layer).ok_or_else(|| {
            let layers: Vec<String> = self.layers().map(|layer| layer.to_string()).collect();
            err!(Argument, "this lens has no layer {layer}")
                .hint(format!("it reads the layers {}", layers.join(", ")))
                .about("layer")
        })
    }

    /// The sites that it reads in a model: `resid_post` of its layers and of the last one, where it is the identity.
    pub fn places(&self, model: &Decoder) -> Result<Vec<Place>> {
        self.check(model)?;
        let last = model.config().layers - 1;
        let layers = self.layers().chain([last]);
        Ok(layers.map(|layer| Place { site: Site::new(SiteKind::ResidPost, layer), head: None }).collect())
    }

    /// Refuses a model that it cannot be of.
    fn check(&self, model: &Decoder) -> Result<()> {
        let (config, last) = (model.config(), self.layers().last().unwrap_or_default());
        if config.d_model == self.d_model && last + 1 < config.layers {
            return Ok(());
        }
        Err(err!(
            Argument,
            "this lens is of a model of width {} with more than {} layers, not of one of width {} with {}",
            self.d_model,
            last + 1,
            config.d_model,
            config.layers
        )
        .about("m"))
    }

    /// J_l h for a recorded stream h, `[.., d_model]`.
    fn carried(&self, place: Place, x: &Tensor, last: usize) -> Result<Tensor> {
        if place.site.kind != SiteKind::ResidPost || place.head.is_some() {
            return Err(err!(Argument, "expected `resid_post` of a layer, found `{place}`")
                .hint("a Jacobian lens reads the output of whole layers")
                .about("site"));
        }
        if place.site.layer == last {
            return Ok(x.clone());
        }
        let jacobian = self.jacobian(place.site.layer)?.to_device(x.device())?;
        let rows = x.to_dtype(DType::F32)?.contiguous()?.reshape(((), self.d_model))?;
        Ok(rows.matmul(&jacobian.t()?)?.reshape(x.dims())?.to_dtype(x.dtype())?)
    }

    /// A cache of the same run with J_l h in place of h.
    fn carried_cache(&self, model: &Decoder, cache: &Cache, places: &[Place]) -> Result<Cache> {
        self.check(model)?;
        let last = model.config().layers - 1;
        let each = places.iter().map(|place| Ok((*place, self.carried(*place, &cache.at(*place)?, last)?)));
        Ok(cache.holding(each.collect::<Result<Vec<_>>>()?))
    }

    /// Runs the model and reads these places by both lenses; logits after the end of a text are NaN.
    pub fn read(
        &self,
        model: &Decoder,
        batch: &Batch,
        places: &[Place],
        options: &LensOptions,
        hooks: Vec<Bound>,
        task: &Task,
    ) -> Result<BothLenses> {
        self.check(model)?;
        let cache = recorded(model, batch, places, options, hooks, task)?;
        let carried = self.carried_cache(model, &cache, places)?;
        Ok(BothLenses {
            jacobian: lens_of_cache(model, batch, &carried, places, options, task)?,
            logit: lens_of_cache(model, batch, &cache, places, options, task)?,
        })
    }

    /// The logits of one recorded place: W_U norm(J_l h), `[batch, pos, vocab]`, after the model's cap if it has one.
    pub fn logits(&self, model: &Decoder, cache: &Cache, place: Place, task: &Task) -> Result<Tensor> {
        let carried = self.carried_cache(model, cache, &[place])?;
        let readings = super::lens::lens(model, &carried, &[place], None, 1, task)?;
        let reading = readings.into_iter().next().ok_or_else(|| err!(Bug, "a lens without its reading"))?;
        cache.blanked(place, &reading.logits)
    }

    /// The direction in the stream of a layer that promotes a token at the end: v_t = J_l^T W_U[:, t], `[d_model]`.
    pub fn direction(&self, model: &Decoder, layer: usize, token: u32) -> Result<Tensor> {
        self.check(model)?;
        let row = model.weights().unembed.weight.get(token as usize)?.to_dtype(DType::F32)?;
        if layer + 1 == model.config().layers {
            return Ok(row);
        }
        let jacobian = self.jacobian(layer)?.to_device(row.device())?;
        Ok(row.unsqueeze(0)?.matmul(&jacobian)?.squeeze(0)?)
    }
}
