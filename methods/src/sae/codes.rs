//! Encoding and decoding in candle's operations, which are differentiable.

use super::parts::{Activation, Parts};
use super::select::{greater, largest};
use crate::base::Result;
use crate::tensor::{Tensor, elementwise, matmul};

/// Computes the pre-activations of scaled activations.
pub fn pre(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    let pre = kernels::linear(&centred(parts, x)?, &parts.encoder, parts.encoder_bias.as_ref())?;
    // A dictionary whose codes are in units of what they write also selects in these units.
    Ok(if parts.rescaled { pre.broadcast_mul(&norms(&parts.decoder)?)? } else { pre })
}

/// Subtracts the decoder bias from scaled activations, where the dictionary does.
pub fn centred(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    match parts.decoder_bias.as_ref().filter(|_| parts.centred) {
        Some(centre) => Ok(x.broadcast_sub(centre)?),
        None => Ok(x.clone()),
    }
}

/// Estimates the number of codes of scaled activations `[.., d_in]`, for dictionaries that learn it: `[..]`.
pub fn ks(parts: &Parts, x: &Tensor) -> Result<Option<Tensor>> {
    let Activation::Other(other) = &parts.activation else { return Ok(None) };
    let Some(estimate) = other.function.estimate else { return Ok(None) };
    Ok(Some(estimate(other, &centred(parts, x)?)?.squeeze(x.rank() - 1)?))
}

/// Computes the codes of activations that are scaled already.
pub fn codes(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    let pre = || pre(parts, x);
    match &parts.activation {
        Activation::Relu => elementwise::relu(&pre()?),
        Activation::TopK(k) => {
            let codes = elementwise::relu(&pre()?)?;
            largest(&codes, &codes, *k)
        }
        Activation::Threshold(threshold) => {
            let pre = pre()?;
            let above = greater(&pre, threshold)?;
            Ok(elementwise::relu(&pre)?.mul(&above)?)
        }
        Activation::Gated { gate, magnitude, log_scale } => {
            let pre = pre()?;
            let open = greater(&pre.broadcast_add(gate)?, &gate.zeros_like()?)?;
            let size = pre.broadcast_mul(&log_scale.exp()?)?.broadcast_add(magnitude)?;
            Ok(elementwise::relu(&size)?.mul(&open)?)
        }
        Activation::Linear(None) => pre(),
        Activation::Linear(Some(k)) => {
            let pre = pre()?;
            largest(&pre, &pre.abs()?, *k)
        }
        Activation::Other(other) => (other.function.codes)(other, parts, x),
    }
}

/// Returns whether gradients may be needed.
pub fn has_history(parts: &Parts, x: &Tensor) -> bool {
    let maybe = [&parts.encoder_bias, &parts.decoder_bias].into_iter().flatten();
    [x, &parts.encoder, &parts.decoder].into_iter().chain(maybe).any(Tensor::track_op)
}

/// Decodes codes, before the scaling is undone.
pub fn decoded(parts: &Parts, codes: &Tensor) -> Result<Tensor> {
    let codes = if parts.rescaled {
        // A direction of length 0 has codes of 0.
        codes.broadcast_div(&norms(&parts.decoder)?.maximum(f32::MIN_POSITIVE)?)?
    } else {
        codes.clone()
    };
    let found = matmul::matmul(&codes, &parts.decoder)?;
    match &parts.decoder_bias {
        Some(bias) => Ok(found.broadcast_add(bias)?),
        None => Ok(found),
    }
}

/// Returns what single codes write, before the scaling is undone: one row for each feature and code.
pub fn written(parts: &Parts, features: &[u32], codes: &Tensor) -> Result<Tensor> {
    let features = Tensor::new(features, parts.decoder.device())?;
    let directions = parts.decoder.index_select(&features, 0)?;
    let lengths =
        if parts.rescaled { codes.div(&norms(&directions)?.maximum(f32::MIN_POSITIVE)?)? } else { codes.clone() };
    Ok(directions.broadcast_mul(&lengths.unsqueeze(1)?)?)
}

/// Returns what the codes of some features write together, before the scaling is undone.
pub fn together(parts: &Parts, features: &Tensor, codes: &Tensor) -> Result<Tensor> {
    let directions = parts.decoder.index_select(features, 0)?;
    let directions = if parts.rescaled {
        directions.broadcast_div(&norms(&directions)?.maximum(f32::MIN_POSITIVE)?.unsqueeze(1)?)?
    } else {
        directions
    };
    matmul::matmul(codes, &directions)
}

/// Computes the norms of the rows.
pub fn norms(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.sqr()?.sum(1)?.sqrt()?)
}

/// Divides rows by their norms, or by `least` where a norm is below that: a row of zeros stays as it is.
pub fn unit_rows(rows: &Tensor, least: f64) -> Result<Tensor> {
    Ok(rows.broadcast_div(&rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(least)?)?)
}
