//! RMS norms and rotations by kernels of candle-nn, in f32 and without gradients, since they have no backward pass. They
//! run on every device, so that tests compare them on the CPU.
//!
//! Its layer norm subtracts the square of the mean from the mean of squares, which cancels where the mean is large, and its
//! softmax has no place for a query that attends to nothing: for these the reference implementation remains.

use candle_core::{DType, Tensor};
use candle_nn::{ops, rotary_emb};

use crate::arguments::norm::{Affine, NormKind, row_width};
use crate::arguments::reach::Gap;
use crate::arguments::rotation::Rotation;
use crate::base::error::Result;

fn has(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.dtype() == DType::F32 && !t.track_op() && t.elem_count() > 0)
}

/// Computes an RMS norm without a bias; None for other norms.
pub fn norm(x: &Tensor, kind: NormKind, eps: f64, affine: Affine) -> Result<Option<Tensor>> {
    let width = row_width(x);
    let arguments: Vec<&Tensor> = [x].into_iter().chain(affine.weight).collect();
    let fits = x.rank() > 0 && affine.weight.is_none_or(|weight| weight.dims() == [width]);
    if kind != NormKind::Rms || affine.bias.is_some() || !fits || !has(&arguments) {
        return Ok(None);
    }
    let weight = match affine.factor()? {
        Some(weight) => weight,
        None => Tensor::ones(width, DType::F32, x.device())?,
    };
    Ok(Some(ops::rms_norm(&x.contiguous()?, &weight, eps as f32)?))
}

/// Applies rotary position embeddings to whole heads of texts without padding; None for others. The table has every
/// position.
pub fn rotate(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Option<Tensor>> {
    let (_, columns, _, size) = x.dims4()?;
    let is_whole = 2 * rotation.cos.dim(1)? == size;
    if gap.is_some() || !is_whole || !has(&[x, &rotation.cos, &rotation.sin]) {
        return Ok(None);
    }
    let cos = rotation.cos.narrow(0, past, columns)?.contiguous()?;
    let sin = rotation.sin.narrow(0, past, columns)?.contiguous()?;
    if !rotation.neighbours {
        return Ok(Some(rotary_emb::rope_thd(&x.contiguous()?, &cos, &sin)?));
    }
    let by_heads = x.transpose(1, 2)?.contiguous()?;
    Ok(Some(rotary_emb::rope_i(&by_heads, &cos, &sin)?.transpose(1, 2)?.contiguous()?))
}
