//! Attention: scores, the pattern that softmax makes of them, and the mixture of values.
//!
//! Queries are `[rows, columns, heads, d_head]`, keys and values `[rows, keys, kv_heads, d_head]`; query head h reads
//! head h / (heads / kv_heads). Scores and patterns are `[rows, heads, columns, keys]`.

use candle_core::{DType, Tensor};

use crate::base::Result;

/// Where shorter rows of a batch were filled up: in row i the columns from `lengths[i]` to `width` hold nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub lengths: Vec<usize>,
    pub width: usize,
}

impl Gap {
    /// The position in its own text of what stands in a column. Columns of the gap itself have the number of the column.
    pub fn position(&self, row: usize, column: usize) -> usize {
        if column < self.width { column } else { column - self.width + self.lengths[row] }
    }

    pub fn holds(&self, row: usize, column: usize) -> bool {
        column < self.lengths[row] || column >= self.width
    }
}

/// Which keys a query sees. Query column c of the tensors stands at column `past + c` of the text.
#[derive(Debug, Clone, Default)]
pub struct Reach<'a> {
    pub causal: bool,
    /// How many positions back, itself included.
    pub window: Option<usize>,
    pub past: usize,
    pub gap: Option<&'a Gap>,
}

impl Reach<'_> {
    pub fn sees(&self, row: usize, query: usize, key: usize) -> bool {
        let (from, to) = match self.gap {
            Some(gap) if !gap.holds(row, key) => return false,
            Some(gap) => (gap.position(row, self.past + query), gap.position(row, key)),
            None => (self.past + query, key),
        };
        (!self.causal || to <= from) && self.window.is_none_or(|window| from < to + window)
    }
}

/// scale * q . k, and `cap * tanh(scores / cap)` of it where there is a cap. Nothing is masked.
pub fn scores(q: &Tensor, k: &Tensor, scale: f64, cap: Option<f64>) -> Result<Tensor> {
    let k = spread(k, q.dim(2)?)?;
    let scores = (q.transpose(1, 2)?.contiguous()?.matmul(&k.transpose(1, 2)?.t()?.contiguous()?)? * scale)?;
    Ok(match cap {
        Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        None => scores,
    })
}

/// Softmax over the keys that a query sees; 0 elsewhere, and everywhere for a query that sees none.
pub fn pattern(scores: &Tensor, reach: &Reach) -> Result<Tensor> {
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
    let powers = masked.broadcast_sub(&masked.max_keepdim(3)?.detach())?.exp()?;
    let powers = seen.where_cond(&powers, &powers.zeros_like()?)?;
    // A query that sees nothing has the sum 0, which becomes 1.
    let sums = powers.sum_keepdim(3)?;
    let sums = sums.eq(0.0)?.where_cond(&sums.ones_like()?, &sums)?;
    Ok(powers.broadcast_div(&sums)?.to_dtype(scores.dtype())?)
}

/// The values weighed by the pattern: `[rows, columns, heads, d_head]`.
pub fn mix(pattern: &Tensor, v: &Tensor) -> Result<Tensor> {
    let v = spread(v, pattern.dim(1)?)?;
    Ok(pattern.matmul(&v.transpose(1, 2)?.contiguous()?)?.transpose(1, 2)?.contiguous()?)
}

/// [`scores`], [`pattern`] and [`mix`] in one, which need not write down the first two.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, cap: Option<f64>, reach: &Reach) -> Result<Tensor> {
    mix(&pattern(&scores(q, k, scale, cap)?, reach)?, v)
}

/// Every head of keys or values as often as query heads read it.
fn spread(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, keys, shared, size) = x.dims4()?;
    if shared == heads {
        return Ok(x.clone());
    }
    let each = heads / shared;
    Ok(x.unsqueeze(3)?.expand((rows, keys, shared, each, size))?.reshape((rows, keys, heads, size))?)
}
