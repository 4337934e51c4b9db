//! The reference implementation of attention in candle's operations: differentiable, and for every device.

use candle_core::{DType, Tensor};

use crate::arguments::reach::Reach;
use crate::base::error::Result;
use crate::device;

pub(crate) fn scores_plain(q: &Tensor, k: &Tensor, scale: f64, cap: Option<f64>, reach: &Reach) -> Result<Tensor> {
    Ok(biased(scaled(products(q, k)?, scale, cap)?, reach)?.to_dtype(q.dtype())?)
}

/// Adds the biases of a reach to scores, which become 32-bit numbers at least where there are any: biases of far keys are
/// large.
fn biased(scores: Tensor, reach: &Reach) -> Result<Tensor> {
    if reach.alibi.is_none() {
        return Ok(scores);
    }
    let (rows, heads, _, keys) = scores.dims4()?;
    let rows = if reach.gap.is_some() { rows } else { 1 };
    let places = (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head)));
    let biases: Vec<f32> = places.flat_map(|(row, head)| reach.biases(row, head, 0..keys)).flatten().collect();
    let wide = if scores.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let biases = Tensor::from_vec(biases, (rows, heads, 1, keys), scores.device())?.to_dtype(wide)?;
    Ok(scores.to_dtype(wide)?.broadcast_add(&biases)?)
}

/// Computes q . k.
fn products(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let k = spread(k, q.dim(2)?)?.transpose(1, 2)?;
    // A GPU reads a matrix whose columns are without gaps as well, and copies rows faster than columns.
    let k = if k.device().is_cpu() { k.t()?.contiguous()? } else { k.contiguous()?.t()? };
    Ok(q.transpose(1, 2)?.contiguous()?.matmul(&k)?)
}

fn scaled(products: Tensor, scale: f64, cap: Option<f64>) -> Result<Tensor> {
    let scores = (products * scale)?;
    Ok(match cap {
        Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        None => scores,
    })
}

/// Computes the pattern; `sinks` has one more score of each head, `[heads]`, which takes its share and attends to
/// nothing.
pub(crate) fn pattern_plain(scores: &Tensor, reach: &Reach, sinks: Option<&Tensor>) -> Result<Tensor> {
    if let Some(found) = device::pattern(scores, 1.0, None, reach, sinks)? {
        return Ok(found);
    }
    let (rows, _, columns, keys) = scores.dims4()?;
    let rows = if reach.gap.is_some() { rows } else { 1 };
    let mut seen = Vec::with_capacity(rows * columns * keys);
    for row in 0..rows {
        for query in 0..columns {
            seen.extend((0..keys).map(|key| u8::from(reach.sees(row, query, key))));
        }
    }
    let seen = Tensor::from_vec(seen, (rows, 1, columns, keys), scores.device())?.broadcast_as(scores.shape())?;
    let wide = if scores.dtype() == DType::F64 { scores.clone() } else { scores.to_dtype(DType::F32)? };
    let masked =
        seen.where_cond(&wide, &Tensor::full(f32::MIN, wide.shape(), wide.device())?.to_dtype(wide.dtype())?)?;
    let sinks = sinks.map(|sinks| sinks.to_dtype(wide.dtype())?.reshape((1, (), 1, 1))).transpose()?;
    let mut most = masked.max_keepdim(3)?.maximum(f64::from(f32::MIN))?.detach();
    if let Some(sinks) = &sinks {
        most = most.broadcast_maximum(&sinks.detach())?;
    }
    let powers = masked.broadcast_sub(&most)?.exp()?;
    let powers = seen.where_cond(&powers, &powers.zeros_like()?)?;
    // A query that attends to nothing has the sum 0, which is replaced by 1.
    let mut sums = powers.sum_keepdim(3)?;
    if let Some(sinks) = &sinks {
        sums = (sums + sinks.broadcast_sub(&most)?.exp()?)?;
    }
    let sums = sums.eq(0.0)?.where_cond(&sums.ones_like()?, &sums)?;
    let pattern = powers.broadcast_div(&sums)?;
    // Once more, since a NaN among the visible scores would spread.
    Ok(seen.where_cond(&pattern, &pattern.zeros_like()?)?.to_dtype(scores.dtype())?)
}

pub(crate) fn mix_plain(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    let v = spread(v, pattern.dim(1)?)?;
    Ok(pattern.matmul(&v.transpose(1, 2)?.contiguous()?)?.transpose(1, 2)?.contiguous()?)
}

pub(crate) fn attention_plain(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f64,
    cap: Option<f64>,
    reach: &Reach,
) -> Result<Tensor> {
    let products = products(q, k)?;
    // The kernels of devices know no biases.
    let found = if reach.alibi.is_none() { device::pattern(&products, scale, cap, reach, None)? } else { None };
    let pattern = match found {
        Some(found) => found,
        None => {
            let scores = biased(scaled(products, scale, cap)?, reach)?;
            pattern_plain(&scores, reach, None)?.to_dtype(q.dtype())?
        }
    };
    mix_plain(&pattern, v)
}

/// Repeats every head of keys or values for each query head that reads it.
fn spread(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, keys, shared, size) = x.dims4()?;
    if shared == heads {
        return Ok(x.clone());
    }
    let each = heads / shared;
    Ok(x.unsqueeze(3)?.expand((rows, keys, shared, each, size))?.reshape((rows, keys, heads, size))?)
}
