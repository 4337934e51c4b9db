//! The padding after the end of shorter texts in a batch, whose values are meaningless.

use super::site::{Heads, Place, SiteKind};
use crate::base::Result;
use crate::tensor::Tensor;

/// The same values with NaN after the end of each text, along each of these axes; the first axis is that of the texts.
///
/// Gradients flow to real positions only: NaN in the padding does not reach them.
pub fn blanked(x: &Tensor, lengths: &[usize], axes: &[usize]) -> Result<Tensor> {
    let mut x = x.clone();
    for axis in axes {
        let width = x.dim(*axis)?;
        if lengths.iter().all(|length| *length >= width) {
            continue;
        }
        let is_real = lengths.iter().flat_map(|length| (0..width).map(move |column| u8::from(column < *length)));
        let mut shape = vec![1; x.rank()];
        (shape[0], shape[*axis]) = (lengths.len(), width);
        let is_real = Tensor::from_vec(is_real.collect::<Vec<_>>(), shape, x.device())?.broadcast_as(x.shape())?;
        let nothing = Tensor::new(f32::NAN, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?;
        x = is_real.where_cond(&x, &nothing)?;
    }
    Ok(x)
}

/// The axes along which texts end in the activation of a place. A pattern is already 0 on padded keys, as it should be.
pub fn axes(place: Place, has_all_positions: bool) -> Vec<usize> {
    if place.site.kind.heads() != Heads::Square {
        return if has_all_positions { vec![1] } else { Vec::new() };
    }
    let queries = if place.head.is_some() { 1 } else { 2 };
    let mut axes = Vec::new();
    if has_all_positions {
        axes.push(queries);
    }
    if place.site.kind != SiteKind::Pattern {
        axes.push(queries + 1);
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Device};
    use candle_core::Var;

    #[test]
    fn gradients_of_what_is_real_do_not_hear_of_what_is_not() {
        let x = Var::new(&[[[1.0_f64], [2.0]], [[3.0], [4.0]]], &Device::Cpu).unwrap();
        let found = blanked(x.as_tensor(), &[2, 1], &[1]).unwrap();
        let numbers = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(numbers[..3], [1.0, 2.0, 3.0]);
        assert!(numbers[3].is_nan());
        // Even a sum that reads all of it, each number times itself.
        let gradients = found.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let slopes = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(slopes, [2.0, 4.0, 6.0, 0.0]);
    }

    #[test]
    fn texts_of_one_length_stay_as_they_are() {
        let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu).unwrap();
        assert_eq!(blanked(&x, &[2], &[1]).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 2.0]]);
        assert_eq!(blanked(&x.to_dtype(DType::BF16).unwrap(), &[1], &[1]).unwrap().dtype(), DType::BF16);
    }
}
