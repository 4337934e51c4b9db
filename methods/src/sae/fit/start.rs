//! Initialisation: random weights, and from data the mean of the first rows and, with a `target`, about that L0.

use rand::Rng;

use super::coefficient::Price;
use super::kinds::InitialCoefficient;
use super::loss::FitBatch;
use super::median::geometric_median;
use super::params::{DictionaryShape, ParamName, Params, unit_rows};
use super::plan::{ErrorNormalisation, Recipe};
use super::state::FitState;
use crate::base::{Error, Result, Task};
use crate::tensor::{DType, Device, Number, Tensor, create, float, linalg};

/// Rows from which the initial thresholds are computed.
const LOOKED_AT: usize = 1024;
/// Ridge of a transcoder's first linear prediction: added to each input's variance, as a multiple of the mean variance.
const RIDGE: f64 = 0.1;

impl Params {
    /// Draws initial weights: random directions of norm 1, an encoder equal to the decoder, biases of 0 (Gao et al.
    /// 2024, section A.1). They are drawn on the CPU, so that they are the same on every device.
    pub fn draw(recipe: &Recipe, shape: DictionaryShape, random: &mut impl Rng, device: &Device) -> Result<Self> {
        let DictionaryShape { d_in, d_sae, d_out } = shape;
        let properties = recipe.kind.properties();
        let zeros = |width: usize| create::zeros(&[width], DType::F32);
        let mut weights = Vec::new();
        if properties.is_tied {
            // Xavier uniform initialisation, as in the paper.
            let bound = (6.0 / (d_in + d_sae) as f64).sqrt();
            weights.push((ParamName::Encoder, create::uniform(&[d_sae, d_in], -bound, bound, DType::F32, random)?));
            weights.push((ParamName::EncoderBias, zeros(d_sae)?));
        } else {
            let decoder = unit_rows(&create::randn(&[d_sae, d_out], DType::F32, random)?)?;
            let encoder = if d_in == d_out {
                decoder.clone()
            } else {
                unit_rows(&create::randn(&[d_sae, d_in], DType::F32, random)?)?
            };
            weights.push((ParamName::Encoder, encoder));
            weights.push((ParamName::EncoderBias, zeros(d_sae)?));
            weights.push((ParamName::Decoder, decoder));
            weights.push((ParamName::DecoderBias, zeros(d_out)?));
        }
        for (name, start) in properties.more {
            weights.push((name, create::full(&[d_sae], Number::Float(start), DType::F32)?));
        }
        let own = recipe.kind.own_weights(&weights[0].1)?;
        weights.extend(own);
        if recipe.skip {
            weights.push((ParamName::Skip, create::zeros(&[d_out, d_in], DType::F32)?));
        }
        let placed = |(name, weight): (ParamName, Tensor)| Ok((name, weight.to_device(device)?));
        Self::new(weights.into_iter().map(placed).collect::<Result<_>>()?)
    }
}

impl FitState {
    /// Initialises a fit from its first rows.
    pub fn start(&mut self, first: &FitBatch, recipe: &Recipe, task: &Task) -> Result<()> {
        if let Some(bias) = self.params.maybe(ParamName::DecoderBias) {
            bias.set(&geometric_median(first.target(), task)?)?;
        }
        if let Some(target) = &first.target {
            self.start_predicting(&first.x, target)?;
        }
        let properties = recipe.kind.properties();
        match properties.target {
            Some(target) if properties.starts_sparse => self.start_sparse(first, recipe, target),
            _ => Ok(()),
        }
    }

    /// Sets the encoder of a transcoder so that a code begins as the part along its direction of what a linear map
    /// predicts of the target, as a code of other dictionaries begins as the part of the input itself. (With an encoder
    /// that equals the decoder, 100 steps explain .852 of an MLP's output instead of .870.)
    fn start_predicting(&mut self, x: &Tensor, target: &Tensor) -> Result<()> {
        let encoder = self.params.get(ParamName::Encoder)?;
        let Some(decoder) = self.params.maybe(ParamName::Decoder) else { return Ok(()) };
        let centred = |t: &Tensor| Ok::<_, Error>(t.broadcast_sub(&t.mean_keepdim(0)?)?);
        let x = centred(x)?;
        let target = centred(target)?;
        let squares = x.t()?.matmul(&x)?;
        let variance = float(&x.sqr()?.sum_all()?)? / x.dims()[1] as f64;
        // Inputs that do not vary predict nothing; those that are not finite end the first step.
        if variance <= 0.0 || !variance.is_finite() {
            return Ok(());
        }
        let ridge = (Tensor::eye(x.dims()[1], x.dtype(), x.device())? * (RIDGE * variance))?;
        let map = linalg::solve(&(squares + ridge)?, &x.t()?.matmul(&target)?)?;
        Ok(encoder.set(&decoder.as_detached_tensor().matmul(&map.t()?)?)?)
    }

    /// Gives a row `target` codes on average: all features become active at the same pre-activation. An adaptive
    /// penalty begins at the value of such a code.
    pub(super) fn start_sparse(&mut self, first: &FitBatch, recipe: &Recipe, target: f64) -> Result<()> {
        let rows = first.x.dims()[0].min(LOOKED_AT);
        let x = first.x.narrow(0, 0, rows)?;
        let properties = recipe.kind.properties();
        let is_centred = properties.is_centred && first.target.is_none();
        let centre = self.params.maybe(ParamName::DecoderBias).filter(|_| is_centred);
        let x = match centre {
            Some(centre) => x.broadcast_sub(centre)?,
            None => x,
        };
        let encoder = self.params.get(ParamName::Encoder)?.as_detached_tensor();
        let encoder = if properties.is_tied { unit_rows(&encoder)? } else { encoder };
        let pre = recipe.compute.linear(&x, &encoder, None)?.to_dtype(DType::F32)?.flatten_all()?;
        let mut pre = pre.to_vec1::<f32>()?;
        let count = ((target * rows as f64).round() as usize).clamp(1, pre.len()) - 1;
        let (_, from, _) = pre.select_nth_unstable_by(count, |a, b| b.total_cmp(a));
        let from = f64::from(*from).max(f64::MIN_POSITIVE);
        let gate = self.params.get(properties.gate)?;
        let start = if properties.gate == ParamName::Threshold { from } else { -from };
        gate.set(&(gate.zeros_like()? + start)?)?;
        if let Some(source) = properties.adapted_from {
            let counts =
                if recipe.counting == ErrorNormalisation::Sum { 1.0 } else { 1.0 / first.target().dims()[1] as f64 };
            self.price = Price::from(match source {
                InitialCoefficient::Given => 1.0,
                // By how much a code of this size, or its first infinitesimal part, lowers the error of a row.
                InitialCoefficient::Estimated if properties.gate == ParamName::Threshold => from * from * counts,
                InitialCoefficient::Estimated => 2.0 * from * counts,
            });
        }
        Ok(())
    }
}
