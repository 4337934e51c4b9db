//! Interchanges: the part of one activation in a subspace is replaced by that of another.

use crate::base::bootstrap::wilson;
use crate::common::*;
use crate::model::hooks::{At, Edit};

/// The accuracy of an interchange: how often it gives the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct InterchangeAccuracy {
    /// The name of what was interchanged.
    pub what: &'static str,
    pub right: usize,
    pub pairs: usize,
}

impl InterchangeAccuracy {
    pub fn share(&self) -> f64 {
        self.right as f64 / self.pairs as f64
    }

    /// Returns the 95 % interval of the share.
    pub fn interval(&self) -> [f64; 2] {
        wilson(self.right, self.pairs).map(|end| end.clamp(0.0, 1.0))
    }
}

/// Computes b + (s - b) R M R^T for rows b and s, `[rows, d]`, and R `[d, k]`; M is a row of k factors, or the
/// identity.
pub fn interchanged(base: &Tensor, source: &Tensor, basis: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let source = source.to_device(base.device())?;
    let basis = basis.to_device(base.device())?;
    let coordinates = (source - base)?.matmul(&basis)?;
    let coordinates = match mask {
        Some(mask) => coordinates.broadcast_mul(&mask.to_device(base.device())?)?,
        None => coordinates,
    };
    Ok((base + coordinates.matmul(&basis.t()?)?)?)
}

/// Computes sigmoid(i / t) sigmoid((boundary d - i) / t) for i = 0 .. d - 1.
pub fn boundless_mask(boundary: &Tensor, d: usize, temperature: f64) -> Result<Tensor> {
    let index = Tensor::arange(0_u32, d as u32, boundary.device())?.to_dtype(boundary.dtype())?;
    // By tanh, whose gradient is finite everywhere.
    let sigmoid = |x: Tensor| -> Result<Tensor> { Ok((((x / (2.0 * temperature))?.tanh()? + 1.0)? * 0.5)?) };
    let end = (boundary * d as f64)?.broadcast_sub(&index)?;
    Ok((sigmoid(index)? * sigmoid(end)?)?)
}

/// A hook that interchanges with given sources.
pub struct InterchangeHook {
    pub sources: Tensor,
    pub basis: Tensor,
    pub mask: Option<Tensor>,
}

impl Edit for InterchangeHook {
    fn edit(&mut self, _: &At, _: Place, _: Option<&[i64]>, x: &Tensor) -> Result<Option<Tensor>> {
        let base = x.reshape(self.sources.dims())?.to_dtype(DType::F32)?;
        let changed = interchanged(&base, &self.sources, &self.basis, self.mask.as_ref())?;
        Ok(Some(changed.reshape(x.dims())?.to_dtype(x.dtype())?))
    }
}
