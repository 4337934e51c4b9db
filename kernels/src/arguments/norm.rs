//! The kinds of norms, and the affine part behind them.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::numbers::{Implementation, flat};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// (x - mean) / sqrt(variance + eps).
    Layer,
    /// x / sqrt(mean of squares + eps).
    Rms,
}

/// The affine part of a norm.
#[derive(Clone, Copy, Default)]
pub(crate) struct Affine<'a> {
    pub weight: Option<&'a Tensor>,
    pub plus_one: bool,
    pub bias: Option<&'a Tensor>,
}

impl Affine<'_> {
    pub fn way(&self, x: &Tensor) -> Implementation {
        let parts: Vec<&Tensor> = [self.weight, self.bias].into_iter().flatten().collect();
        let fits = x.rank() > 0 && x.elem_count() > 0 && parts.iter().all(|part| part.dims() == [row_width(x)]);
        if fits { Implementation::of(&[&[x], &parts[..]].concat()) } else { Implementation::Plain }
    }

    /// Returns the factor of rows, in f32.
    pub fn factor(&self) -> Result<Option<Tensor>> {
        let Some(weight) = self.weight else { return Ok(None) };
        let weight = flat(weight)?;
        Ok(Some(if self.plus_one { (weight + 1.0)? } else { weight }))
    }
}

pub(crate) fn row_width(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1).max(1)
}
