//! Common parts of recurrent layers: the convolution before them, or the mixture with the token before, states whose edits are
//! carried on, and texts that end in padding.

use super::flow::Flow;
use crate::base::Result;
use crate::err;
use crate::model::site::Site;
use crate::tensor::{DType, Tensor};

/// Returns the dtype of what is summed over a text.
pub(super) fn wide(x: &Tensor) -> DType {
    if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 }
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

/// Writes zeros into the padding: there nothing is forgotten, and nothing written. `[batch, pos, ..]`.
pub(super) fn only_real(x: &Tensor, real: &[usize]) -> Result<Tensor> {
    Ok(match real_mask(x, real)? {
        Some(mask) => x.broadcast_mul(&beside_positions(x, &mask)?.to_dtype(x.dtype())?)?,
        None => x.clone(),
    })
}

/// Returns a mask `[batch, pos]` with axes of size 1 for those of x behind these.
fn beside_positions(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    (shape[0], shape[1]) = mask.dims2()?;
    Ok(mask.reshape(shape)?)
}

/// A function from a column to the states behind it and all later ones, `[batch, pos, ..]`, from those behind the column before,
/// or from those before the text; what is added to each, where something is, is carried on.
pub(super) type StatesFrom<'a> = dyn Fn(usize, Option<&Tensor>, Option<&Tensor>) -> Result<Tensor> + 'a;

/// Computes the states behind all tokens, `[batch, pos, ..]`, with what hooks make of them, who see them in the shape `shown`: a
/// state that is changed changes those behind it.
///
/// Hooks see the states of all tokens at once. The first state that they change is settled, those behind it are
/// computed anew, and all are shown again, until nothing behind what is settled is changed. States that are settled
/// are shown as they were before they were changed, so that the last call sees and gives those of all tokens.
pub(super) fn hooked_states(flow: &mut Flow, site: Site, shown: &[usize], states_from: &StatesFrom) -> Result<Tensor> {
    let mut before = states_from(0, None, None)?;
    let columns = before.dim(1)?;
    let whole = before.dims().to_vec();
    let mut settled: Vec<Tensor> = Vec::new();
    loop {
        let from = settled.len();
        let changed = flow.shown(site, kernels::reshape(&before, shown)?)?;
        let changed = kernels::reshape(&changed, &whole)?.narrow(1, from, columns - from)?;
        let own = before.narrow(1, from, columns - from)?;
        let count = match first_change(&own, &changed)? {
            None if changed.track_op() => {
                // Nothing is added but what has gradients, and that is carried on.
                let added = (&changed - &own)?;
                settled.push(states_from(from, settled.last(), Some(&added))?);
                break;
            }
            None => {
                settled.push(own);
                break;
            }
            // What hooks do to a state may have gradients, even if it changes nothing there.
            Some(_) if changed.track_op() => 1,
            Some(first) => first + 1,
        };
        for column in 0..count {
            settled.push(changed.narrow(1, column, 1)?);
        }
        if settled.len() == columns {
            break;
        }
        let behind = states_from(settled.len(), settled.last(), None)?;
        before = Tensor::cat(&[&before.narrow(1, 0, settled.len())?, &behind], 1)?;
    }
    Ok(Tensor::cat(&settled, 1)?)
}

/// Returns the first column in which two tensors `[batch, pos, ..]` differ.
fn first_change(a: &Tensor, b: &Tensor) -> Result<Option<usize>> {
    let differs = a.detach().ne(&b.detach())?.transpose(0, 1)?.contiguous()?.flatten_from(1)?;
    let by_column = differs.to_dtype(DType::F32)?.max(1)?.to_vec1::<f32>()?;
    Ok(by_column.iter().position(|differs| *differs > 0.0))
}

/// Computes the distance of each column from the one before, `[batch, pos, d_model]`, and what that of the next token is
/// measured from, `[batch, 1, d_model]`; `recent` has it for the first column, which is zero where nothing was before.
pub(super) fn from_before(x: &Tensor, recent: Option<&Tensor>, real: &[usize]) -> Result<(Tensor, Tensor)> {
    let (rows, columns, width) = x.dims3()?;
    let before = match recent {
        Some(recent) => recent.clone(),
        None => Tensor::zeros((rows, 1, width), x.dtype(), x.device())?,
    };
    let all = Tensor::cat(&[&before, x], 1)?;
    let distance = (all.narrow(1, 0, columns)? - x)?;
    Ok((distance, last_columns(&all, real, 1)?))
}

/// Returns the last columns before the padding of each row, `[batch, count, ..]`, of columns behind as many that were before.
fn last_columns(all: &Tensor, real: &[usize], count: usize) -> Result<Tensor> {
    let last = real.iter().enumerate().map(|(row, end)| all.narrow(0, row, 1)?.narrow(1, *end, count));
    Ok(Tensor::cat(&last.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
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
    let last = last_columns(&all, real, earlier)?;
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
    }

    #[test]
    fn what_the_next_token_is_measured_from_is_before_the_padding() {
        let x = create::randn(&[2, 3, 2], DType::F64, &mut stream(1, "shift", 0)).unwrap();
        let (distance, recent) = from_before(&x, None, &[3, 1]).unwrap();
        let first = x.narrow(1, 0, 1).unwrap();
        assert_eq!(far(distance.narrow(1, 0, 1).unwrap(), first.neg().unwrap()), 0.0);
        assert_eq!(far(recent.get(1).unwrap(), first.get(1).unwrap()), 0.0);
        assert_eq!(far(recent.get(0).unwrap(), x.get(0).unwrap().narrow(0, 2, 1).unwrap()), 0.0);
        let (distance, _) = from_before(&first, Some(&recent), &[1, 1]).unwrap();
        assert_eq!(far(&distance, (recent - first).unwrap()), 0.0);
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
