//! Selection of codes: those above a threshold, or the largest.

use crate::base::Result;
use crate::tensor::compare::{Comparison, compare};
use crate::tensor::order::{self, Direction};
use crate::tensor::{DType, Operand, Tensor, gather};

/// Returns 1 where a is greater than a row b, else 0. It has no gradient.
pub fn greater(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mask = compare(Comparison::Gt, &Operand::Tensor(a.detach()), &Operand::Tensor(b.detach()))?;
    Ok(mask.to_dtype(a.dtype())?)
}

/// Returns the largest codes of each row, as many as its number of `[.., 1]` says, which is at most `most`, and 0 elsewhere;
/// of ties the first ones.
pub fn largest_by_row(codes: &Tensor, counts: &Tensor, most: usize) -> Result<Tensor> {
    let (_, places) = order::topk(&codes.detach(), most, -1, Direction::Descending)?;
    let ranks: Vec<f64> = (1..=most).map(|rank| rank as f64).collect();
    let ranks = Tensor::new(ranks, codes.device())?.to_dtype(counts.dtype())?;
    let kept = counts.detach().broadcast_ge(&ranks)?.to_dtype(codes.dtype())?;
    Ok(codes.mul(&gather::scatter(&codes.zeros_like()?, -1, &places, &kept)?)?)
}

/// Returns the k codes of the largest absolute value in each row, and 0 elsewhere; of ties the first ones.
pub fn largest(codes: &Tensor, sizes: &Tensor, k: usize) -> Result<Tensor> {
    if let Some(mask) = kernels::device::mask_of_largest(&sizes.detach(), k)? {
        return Ok(codes.mul(&mask)?);
    }
    let (_, places) = order::topk(&sizes.detach(), k, -1, Direction::Descending)?;
    let ones = Tensor::ones(places.dims(), DType::F32, codes.device())?.to_dtype(codes.dtype())?;
    let mask = gather::scatter(&codes.zeros_like()?, -1, &places, &ones)?;
    Ok(codes.mul(&mask)?)
}
