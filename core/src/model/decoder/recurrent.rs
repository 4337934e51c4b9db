//! Common parts of recurrent layers: the convolution before them, and texts that end in padding.

use super::flow::Flow;
use crate::base::Result;
use crate::err;
use crate::tensor::{DType, Tensor};

/// Returns the dtype of what is summed over a text.
pub(super) fn wide(x: &Tensor) -> DType {
    if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Computes `ln(1 + exp(x))`, which for large x is x.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor> {
    let small = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok((x.relu()? + small)?)
}

/// Counts the columns of this pass before the padding of each row. A recurrent layer has to leave padding out only
/// where more text may follow; a pass without a cache has no gap, and what follows a text reads nothing into it.
pub(super) fn real_columns(flow: &Flow, rows: usize) -> Vec<usize> {
    let held = |row: usize| match &flow.gap {
        Some(gap) => flow.columns.clone().filter(|column| gap.holds(row, *column)).count(),
        None => flow.columns.len(),
    };
    (0..rows).map(held).collect()
}

/// Marks the columns before the padding of each row with ones, `[batch, pos]`; None where there is no padding.
fn real_mask(x: &Tensor, real: &[usize]) -> Result<Option<Tensor>> {
    let columns = x.dim(1)?;
    if real.iter().all(|count| *count == columns) {
        return Ok(None);
    }
    let mask = real.iter().flat_map(|count| (0..columns).map(move |column| u8::from(column < *count)));
    Ok(Some(Tensor::from_vec(mask.collect::<Vec<_>>(), (real.len(), columns), x.device())?))
}

/// Writes zeros into the padding: there nothing is forgotten, and nothing written. `[batch, pos, head]`.
pub(super) fn only_real(x: &Tensor, real: &[usize]) -> Result<Tensor> {
    Ok(match real_mask(x, real)? {
        Some(mask) => x.broadcast_mul(&mask.unsqueeze(2)?.to_dtype(x.dtype())?)?,
        None => x.clone(),
    })
}

/// Returns `changed` where texts are, and `x` in their padding: `[batch, pos, ..]`.
pub(super) fn changed_where_real(x: &Tensor, changed: &Tensor, real: &[usize]) -> Result<Tensor> {
    let Some(mask) = real_mask(x, real)? else { return Ok(changed.clone()) };
    let mut shape = vec![1; x.rank()];
    (shape[0], shape[1]) = mask.dims2()?;
    Ok(mask.reshape(shape)?.broadcast_as(x.shape())?.where_cond(changed, x)?)
}

/// Computes the convolution of each channel over positions, `[batch, pos, channels]`, and what that of the next token
/// reads of these: `recent` has the last columns before them, `[batch, kernel - 1, channels]`.
pub(super) fn convolved(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    recent: Option<&Tensor>,
    real: &[usize],
) -> Result<(Tensor, Tensor)> {
    let (rows, columns, channels) = x.dims3()?;
    let earlier = weight.dim(2)? - 1;
    let before = match recent {
        Some(recent) => recent.clone(),
        None => Tensor::zeros((rows, earlier, channels), x.dtype(), x.device())?,
    };
    let all = Tensor::cat(&[&before, x], 1)?;
    let mut sum = None;
    for place in 0..=earlier {
        let factor = weight.narrow(2, place, 1)?.reshape(channels)?.to_dtype(x.dtype())?;
        let part = all.narrow(1, place, columns)?.broadcast_mul(&factor)?;
        sum = Some(match sum {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    let sum = sum.ok_or_else(|| err!(Bug, "a convolution over no positions"))?;
    let sum = match bias {
        Some(bias) => sum.broadcast_add(&bias.to_dtype(x.dtype())?)?,
        None => sum,
    };
    let last = real.iter().enumerate().map(|(row, count)| all.narrow(0, row, 1)?.narrow(1, *count, earlier));
    let last = Tensor::cat(&last.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
    Ok((sum, last))
}

#[cfg(test)]
mod tests {
    use kit::{far, largest};

    use super::*;
    use crate::base::random::stream;
    use crate::tensor::create;

    #[test]
    fn padding_is_neither_convolved_nor_written_nor_forgotten() {
        let x = create::randn(&[2, 4, 3], DType::F64, &mut stream(1, "delta", 0)).unwrap();
        let weight = create::randn(&[3, 1, 3], DType::F64, &mut stream(2, "delta", 0)).unwrap();
        let (_, recent) = convolved(&x, &weight, None, None, &[4, 1]).unwrap();
        assert_eq!(far(recent.get(0).unwrap(), x.get(0).unwrap().narrow(0, 2, 2).unwrap()), 0.0);
        let only = recent.get(1).unwrap();
        assert_eq!(far(only.narrow(0, 1, 1).unwrap(), x.get(1).unwrap().narrow(0, 0, 1).unwrap()), 0.0);
        assert_eq!(only.get(0).unwrap().to_vec1::<f64>().unwrap(), [0.0; 3]);
        let kept = only_real(&x, &[4, 1]).unwrap();
        assert_eq!(far(kept.get(0).unwrap(), x.get(0).unwrap()), 0.0);
        assert_eq!(largest(kept.get(1).unwrap().narrow(0, 1, 3).unwrap()), 0.0);
        let changed = changed_where_real(&x, &x.zeros_like().unwrap(), &[4, 1]).unwrap();
        assert_eq!(largest(changed.get(0).unwrap()), 0.0);
        assert_eq!(largest(changed.get(1).unwrap().narrow(0, 0, 1).unwrap()), 0.0);
        let padding = |x: &Tensor| x.get(1).unwrap().narrow(0, 1, 3).unwrap();
        assert_eq!(far(padding(&changed), padding(&x)), 0.0);
    }

    #[test]
    fn a_bias_is_added_to_every_column() {
        let x = Tensor::zeros((1, 3, 2), DType::F64, &crate::tensor::Device::Cpu).unwrap();
        let weight = Tensor::ones((2, 1, 3), DType::F64, &crate::tensor::Device::Cpu).unwrap();
        let bias = Tensor::new(&[1.0_f64, -2.0], &crate::tensor::Device::Cpu).unwrap();
        let (found, _) = convolved(&x, &weight, Some(&bias), None, &[3]).unwrap();
        assert_eq!(found.to_vec3::<f64>().unwrap(), [[[1.0, -2.0]; 3]]);
    }
}
