//! Vectors that add up, on their way through maps with biases and norms.

use crate::common::*;
use crate::model::config::NormKind;
use crate::model::weights::{Linear, Norm};

/// Vectors whose sum is what a model computes, one for each part and a last one for what biases add: `[parts + 1, d]`.
///
/// A norm divides all by the scale of their sum, which is what it divides by in the run; so it is linear in the parts,
/// and the sum stays what the model computes.
#[derive(Debug, Clone)]
pub struct Rows(Tensor);

impl Rows {
    /// Takes the vectors of parts, `[parts, d]`; nothing is added by biases yet.
    pub fn of(parts: &Tensor) -> Result<Self> {
        let zero = Tensor::zeros((1, parts.dim(1)?), DType::F32, parts.device())?;
        Ok(Self(Tensor::cat(&[parts, &zero], 0)?))
    }

    /// Returns the vectors, the last of which is that of biases.
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// Applies a map to every vector. Its bias is nobody's part.
    pub fn mapped(&self, map: &Linear) -> Result<Self> {
        let bias = map.bias.as_ref();
        Self(kernels::linear(&self.0, &map.weight.floats()?, None)?).shifted(bias)
    }

    /// Applies a norm, if there is one.
    pub fn normed(&self, config: &Config, norm: Option<&Norm>) -> Result<Self> {
        let (Some(norm), Some(kind)) = (norm, config.norm) else { return Ok(self.clone()) };
        self.divided(kind, config.norm_eps)?
            .weighted(norm.weight.as_ref(), config.norm_plus_one)?
            .shifted(norm.bias.as_ref())
    }

    /// Centres vectors, where the norm does, and divides them by the scale of their sum.
    pub fn divided(&self, kind: NormKind, eps: f64) -> Result<Self> {
        let scale = kernels::norm_scale(&self.0.sum_keepdim(0)?, kind, eps)?;
        let rows = match kind {
            NormKind::Layer => self.0.broadcast_sub(&self.0.mean_keepdim(1)?)?,
            NormKind::Rms => self.0.clone(),
        };
        Ok(Self(rows.broadcast_div(&scale)?))
    }

    /// Multiplies the coordinates by the weights of a norm.
    pub fn weighted(&self, weight: Option<&Tensor>, plus_one: bool) -> Result<Self> {
        let Some(weight) = weight else { return Ok(self.clone()) };
        let weight = weight.to_dtype(DType::F32)?;
        let weight = if plus_one { (weight + 1.0)? } else { weight };
        Ok(Self(self.0.broadcast_mul(&weight)?))
    }

    /// Multiplies all vectors by a number.
    pub fn scaled(&self, factor: f64) -> Result<Self> {
        Ok(Self((&self.0 * factor)?))
    }

    /// Takes some of the coordinates.
    pub fn narrowed(&self, start: usize, count: usize) -> Result<Self> {
        Ok(Self(self.0.narrow(1, start, count)?.contiguous()?))
    }

    /// Puts the coordinates of other vectors of the same parts behind these.
    pub fn beside(&self, other: &Self) -> Result<Self> {
        Ok(Self(Tensor::cat(&[&self.0, &other.0], 1)?))
    }

    /// Returns what `change` makes of the vectors; it must be linear.
    pub fn changed(&self, change: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self(change(&self.0)?))
    }

    /// Adds a bias to the last vector, if there is one.
    pub fn shifted(self, bias: Option<&Tensor>) -> Result<Self> {
        let Some(bias) = bias else { return Ok(self) };
        let (count, width) = self.0.dims2()?;
        let last = (self.0.narrow(0, count - 1, 1)? + bias.to_dtype(DType::F32)?.reshape((1, width))?)?;
        Ok(Self(Tensor::cat(&[&self.0.narrow(0, 0, count - 1)?, &last], 0)?))
    }
}
