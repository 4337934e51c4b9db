//! From activations to codes and back, in candle's operations, so that gradients pass.

use super::parts::{Activation, Parts};
use super::{encode, nonnegative};
use crate::base::Result;
use crate::tensor::compare::{Comparison, compare};
use crate::tensor::order::{self, Direction};
use crate::tensor::{DType, Operand, Tensor, elementwise, gather, kernels, matmul};

/// What the activation function reads, of activations that are scaled already.
pub fn pre(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    let pre = kernels::linear(&centred(parts, x)?, &parts.encoder, parts.encoder_bias.as_ref())?;
    // A dictionary that counts in units of what it writes chooses by these, too.
    Ok(match parts.rescaled {
        true => pre.broadcast_mul(&norms(&parts.decoder)?)?,
        false => pre,
    })
}

fn centred(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    match parts.decoder_bias.as_ref().filter(|_| parts.centred) {
        Some(centre) => Ok(x.broadcast_sub(centre)?),
        None => Ok(x.clone()),
    }
}

/// The codes of activations that are scaled already.
pub fn codes(parts: &Parts, x: &Tensor) -> Result<Tensor> {
    // The largest are found faster than all are made and sorted, but not with gradients.
    if let (Activation::TopK(_), false) = (&parts.activation, has_history(parts, x))
        && let Some(codes) = encode::dense(parts, x)?
    {
        return Ok(codes);
    }
    let pre = pre(parts, x)?;
    match &parts.activation {
        Activation::Relu => elementwise::relu(&pre),
        Activation::TopK(k) => {
            let codes = elementwise::relu(&pre)?;
            largest(&codes, &codes, *k)
        }
        Activation::Threshold(threshold) => {
            let above = greater(&pre, threshold)?;
            Ok(elementwise::relu(&pre)?.mul(&above)?)
        }
        Activation::Gated { gate, magnitude, log_scale } => {
            let open = greater(&pre.broadcast_add(gate)?, &gate.zeros_like()?)?;
            let size = pre.broadcast_mul(&log_scale.exp()?)?.broadcast_add(magnitude)?;
            Ok(elementwise::relu(&size)?.mul(&open)?)
        }
        Activation::Linear(None) => Ok(pre),
        Activation::Linear(Some(k)) => largest(&pre, &pre.abs()?, *k),
        Activation::Nonnegative { sum, k } => nonnegative::codes(&pre, &parts.encoder, sum, *k, &centred(parts, x)?),
    }
}

/// Whether somebody may ask for gradients.
fn has_history(parts: &Parts, x: &Tensor) -> bool {
    let maybe = [&parts.encoder_bias, &parts.decoder_bias].into_iter().flatten();
    [x, &parts.encoder, &parts.decoder].into_iter().chain(maybe).any(Tensor::track_op)
}

/// What codes stand for, before a scaling is undone.
pub fn decoded(parts: &Parts, codes: &Tensor) -> Result<Tensor> {
    let codes = match parts.rescaled {
        // A direction of length 0 has codes of 0.
        true => codes.broadcast_div(&norms(&parts.decoder)?.maximum(f32::MIN_POSITIVE)?)?,
        false => codes.clone(),
    };
    let found = matmul::matmul(&codes, &parts.decoder)?;
    match &parts.decoder_bias {
        Some(bias) => Ok(found.broadcast_add(bias)?),
        None => Ok(found),
    }
}

/// What single codes write, before a scaling is undone: one row for each feature and code.
pub fn written(parts: &Parts, features: &[u32], codes: &Tensor) -> Result<Tensor> {
    let features = Tensor::new(features, parts.decoder.device())?;
    let directions = parts.decoder.index_select(&features, 0)?;
    let lengths = match parts.rescaled {
        true => codes.div(&norms(&directions)?.maximum(f32::MIN_POSITIVE)?)?,
        false => codes.clone(),
    };
    Ok(directions.broadcast_mul(&lengths.unsqueeze(1)?)?)
}

/// What the codes of some features write together, before a scaling is undone.
pub fn together(parts: &Parts, features: &Tensor, codes: &Tensor) -> Result<Tensor> {
    let directions = parts.decoder.index_select(features, 0)?;
    let directions = match parts.rescaled {
        true => directions.broadcast_div(&norms(&directions)?.maximum(f32::MIN_POSITIVE)?.unsqueeze(1)?)?,
        false => directions,
    };
    matmul::matmul(codes, &directions)
}

/// The lengths of the rows.
pub fn norms(rows: &Tensor) -> Result<Tensor> {
    Ok(rows.sqr()?.sum(1)?.sqrt()?)
}

/// 1 where a is greater than a row b, else 0. It has no gradient.
pub fn greater(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mask = compare(Comparison::Gt, &Operand::Tensor(a.detach()), &Operand::Tensor(b.detach()))?;
    Ok(mask.to_dtype(a.dtype())?)
}

/// The codes whose rank by size is among the k first of their row, and 0 elsewhere; of equals the first ones.
pub fn largest(codes: &Tensor, sizes: &Tensor, k: usize) -> Result<Tensor> {
    let (_, places) = order::topk(&sizes.detach(), k, -1, Direction::Descending)?;
    let ones = Tensor::ones(places.dims(), DType::F32, codes.device())?.to_dtype(codes.dtype())?;
    let mask = gather::scatter(&codes.zeros_like()?, -1, &places, &ones)?;
    Ok(codes.mul(&mask)?)
}
