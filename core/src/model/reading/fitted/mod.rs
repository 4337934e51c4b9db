//! Fitted lenses: the residual stream of a layer is carried to the last one by an affine map, and decoded there. The
//! logit lens is the same with the identity in its place.
//!
//! - The Jacobian lens (`jacobian.rs`) carries h to J h, by the mean Jacobian of the layers between.
//! - The tuned lens (`tuned.rs`; Belrose et al. 2023) carries h to A h + b, which are trained to predict what the model
//!   predicts in the end.

mod file;
mod jacobian;
mod judge;
mod prompts;
#[cfg(test)]
mod tests;
mod tuned;

use std::collections::BTreeMap;

pub use jacobian::{JacobianLensOptions, fit_jacobian};
pub use judge::JudgeLensOptions;
pub use tuned::{TunedLensOptions, train_tuned};

use super::lens::{LensOptions, LensReading, lens_of_cache, recorded};
use crate::base::{Result, Task};
use crate::err;
use crate::model::batch::Batch;
use crate::model::cache::Cache;
use crate::model::decoder::Decoder;
use crate::model::hooks::BoundHook;
use crate::model::site::{Place, Site, SiteKind};
use crate::tensor::{DType, Tensor};

/// The kind of maps that a lens has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LensKind {
    Jacobian,
    Tuned,
}

impl LensKind {
    /// Returns the name of the lens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jacobian => "Jacobian lens",
            Self::Tuned => "tuned lens",
        }
    }
}

/// An affine map of h to A h + b.
#[derive(Debug, Clone)]
pub struct AffineMap {
    /// Matrix A, `[d_model, d_model]` in f32, the output dimension first.
    pub matrix: Tensor,
    /// Bias b, `[d_model]`; the Jacobian lens has none.
    pub bias: Option<Tensor>,
}

/// Maps that carry the outputs of layers to the output of the last one.
#[derive(Debug, Clone)]
pub struct FittedLens {
    kind: LensKind,
    maps: BTreeMap<usize, AffineMap>,
    /// Number of prompts that the lens was fitted on.
    prompts: usize,
    d_model: usize,
}

/// The readings of a fitted lens and of the logit lens in one run.
pub struct BothLenses {
    pub fitted: Vec<LensReading>,
    pub logit: Vec<LensReading>,
}

impl FittedLens {
    /// Refuses maps of different sizes, and numbers that are none.
    pub fn new(kind: LensKind, maps: BTreeMap<usize, AffineMap>, prompts: usize) -> Result<Self> {
        let first = maps.values().next();
        let first =
            first.ok_or_else(|| err!(Format, "expected at least one matrix in a {}, found none", kind.name()))?;
        let d_model = first.matrix.dims().first().copied().unwrap_or_default();
        let within = |(layer, map): (usize, AffineMap)| {
            let matrix = checked(&map.matrix, &[d_model, d_model], layer)?;
            let bias = map.bias.map(|bias| checked(&bias, &[d_model], layer)).transpose()?;
            Ok((layer, AffineMap { matrix, bias }))
        };
        Ok(Self { kind, maps: maps.into_iter().map(within).collect::<Result<_>>()?, prompts, d_model })
    }

    pub fn kind(&self) -> LensKind {
        self.kind
    }

    /// Iterates over the layers that the lens reads, in order.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.maps.keys().copied()
    }

    pub fn prompts(&self) -> usize {
        self.prompts
    }

    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Returns the map of a layer.
    pub fn map(&self, layer: usize) -> Result<&AffineMap> {
        self.maps.get(&layer).ok_or_else(|| {
            let layers: Vec<String> = self.layers().map(|layer| layer.to_string()).collect();
            err!(Argument, "this lens has no layer {layer}")
                .hint(format!("it reads the layers {}", layers.join(", ")))
                .about("layer")
        })
    }

    /// Lists the sites that the lens reads in a model: `resid_post` of its layers and of the last one, where it is the
    /// identity.
    pub fn places(&self, model: &Decoder) -> Result<Vec<Place>> {
        self.check(model)?;
        let last = model.config().layers - 1;
        Ok(self.layers().chain([last]).map(output).collect())
    }

    /// Refuses a model that the lens does not fit.
    fn check(&self, model: &Decoder) -> Result<()> {
        let config = model.config();
        let last = self.layers().last().unwrap_or_default();
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

    /// Computes A h + b for a recorded residual stream h, `[.., d_model]`.
    fn carried(&self, place: Place, x: &Tensor, last: usize) -> Result<Tensor> {
        if place.site.kind != SiteKind::ResidPost || place.head.is_some() {
            return Err(err!(Argument, "expected `resid_post` of a layer, found `{place}`")
                .hint(format!("a {} reads the output of whole layers", self.kind.name()))
                .about("site"));
        }
        if place.site.layer == last {
            return Ok(x.clone());
        }
        let map = self.map(place.site.layer)?;
        let rows = x.to_dtype(DType::F32)?.contiguous()?.reshape(((), self.d_model))?;
        let mut carried = rows.matmul(&map.matrix.to_device(x.device())?.t()?)?;
        if let Some(bias) = &map.bias {
            carried = carried.broadcast_add(&bias.to_device(x.device())?)?;
        }
        Ok(carried.reshape(x.dims())?.to_dtype(x.dtype())?)
    }

    /// Returns a cache of the same run with A h + b in place of h.
    pub(super) fn carried_cache(&self, model: &Decoder, cache: &Cache, places: &[Place]) -> Result<Cache> {
        self.check(model)?;
        let last = model.config().layers - 1;
        let each = places.iter().map(|place| Ok((*place, self.carried(*place, &cache.at(*place)?, last)?)));
        Ok(cache.holding(each.collect::<Result<Vec<_>>>()?))
    }

    /// Runs the model and reads these places by this lens and by the logit lens; logits after the end of a text are NaN.
    pub fn read(
        &self,
        model: &Decoder,
        batch: &Batch,
        places: &[Place],
        options: &LensOptions,
        hooks: Vec<BoundHook>,
        task: &Task,
    ) -> Result<BothLenses> {
        self.check(model)?;
        let cache = recorded(model, batch, places, options, hooks, task)?;
        let carried = self.carried_cache(model, &cache, places)?;
        Ok(BothLenses {
            fitted: lens_of_cache(model, batch, &carried, places, options, task)?,
            logit: lens_of_cache(model, batch, &cache, places, options, task)?,
        })
    }

    /// Computes the logits of one recorded place: W_U norm(A h + b), `[batch, pos, vocab]`, after the model's cap if it
    /// has one.
    pub fn logits(&self, model: &Decoder, cache: &Cache, place: Place, task: &Task) -> Result<Tensor> {
        let carried = self.carried_cache(model, cache, &[place])?;
        let rows = super::lens::rows(model, &carried, place, None, task)?;
        cache.blanked(place, &model.unembedded(&rows, task)?)
    }

    /// Computes the direction in the residual stream of a layer that promotes a token at the end: v_t = A^T W_U[:, t],
    /// `[d_model]`.
    pub fn direction(&self, model: &Decoder, layer: usize, token: u32) -> Result<Tensor> {
        self.check(model)?;
        let row = model.weights().unembed.weight.row(token as usize)?.to_dtype(DType::F32)?;
        if layer + 1 == model.config().layers {
            return Ok(row);
        }
        let matrix = self.map(layer)?.matrix.to_device(row.device())?;
        Ok(row.unsqueeze(0)?.matmul(&matrix)?.squeeze(0)?)
    }
}

/// Returns the site of a layer's output.
fn output(layer: usize) -> Place {
    Place { site: Site::new(SiteKind::ResidPost, layer), head: None }
}

/// Checks that the numbers of a layer have this shape and are finite, and returns them in f32.
fn checked(numbers: &Tensor, shape: &[usize], layer: usize) -> Result<Tensor> {
    if numbers.dims() != shape {
        return Err(err!(Shape, "expected {shape:?} for layer {layer}, found {:?}", numbers.dims()));
    }
    let numbers = numbers.to_dtype(DType::F32)?.contiguous()?;
    if !numbers.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
        return Err(err!(Numeric, "expected finite numbers for layer {layer} of a lens, found others"));
    }
    Ok(numbers)
}
