//! Layer norm and RMS norm over the last axis.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::base::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// (x - mean) / sqrt(variance + eps)
    Layer,
    /// x / sqrt(mean of squares + eps)
    Rms,
}

/// The norm of every row, times `weight` (plus 1 where `plus_one`), plus `bias`. Half precision is computed in f32.
pub fn norm(
    x: &Tensor,
    kind: NormKind,
    eps: f64,
    weight: Option<&Tensor>,
    plus_one: bool,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    norm_with_scale(x, kind, &norm_scale(x, kind, eps)?, weight, plus_one, bias)
}

/// What the norm divides by: `[.., 1]`.
pub fn norm_scale(x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
    let wide = widened(x)?;
    let centred = centred(&wide, kind)?;
    Ok((centred.sqr()?.mean_keepdim(candle_core::D::Minus1)? + eps)?.sqrt()?.to_dtype(x.dtype())?)
}

/// The norm with a given divisor.
pub fn norm_with_scale(
    x: &Tensor,
    kind: NormKind,
    scale: &Tensor,
    weight: Option<&Tensor>,
    plus_one: bool,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let wide = widened(x)?;
    let mut y = centred(&wide, kind)?.broadcast_div(&widened(scale)?)?;
    if let Some(weight) = weight {
        let weight = widened(weight)?;
        y = y.broadcast_mul(&if plus_one { (weight + 1.0)? } else { weight })?;
    }
    if let Some(bias) = bias {
        y = y.broadcast_add(&widened(bias)?)?;
    }
    Ok(y.to_dtype(x.dtype())?)
}

fn centred(x: &Tensor, kind: NormKind) -> Result<Tensor> {
    Ok(match kind {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(candle_core::D::Minus1)?)?,
        NormKind::Rms => x.clone(),
    })
}

fn widened(x: &Tensor) -> Result<Tensor> {
    Ok(match x.dtype() {
        DType::F64 => x.clone(),
        _ => x.to_dtype(DType::F32)?,
    })
}
