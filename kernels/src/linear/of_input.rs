//! The gradient dy W of what a linear map reads, without multiplying zeros: a metric of few positions has gradients in
//! their rows alone behind the last attention, and one of few logits in a few of some hundred thousand columns.

use candle_core::Tensor;

use crate::base::error::Result;
use crate::numbers::{FlatNumbers, Fresh};

/// Rows of W are added one by one where at most one number in so many is not 0.
const FEW: usize = 64;

/// Computes dy W for dy `[rows, out]` and W `[out, inner]`: `dense` computes it of some rows as a whole, and `row` returns
/// a row of W.
pub(super) fn of_input(
    dy: &[f32],
    [inner, out]: [usize; 2],
    dense: impl Fn(&[f32]) -> Result<Fresh>,
    row: impl Fn(usize) -> Result<Tensor>,
) -> Result<Fresh> {
    let rows = dy.len() / out.max(1);
    let of = |row: usize| &dy[row * out..(row + 1) * out];
    let kept: Vec<usize> = (0..rows).filter(|row| of(*row).iter().any(|slope| *slope != 0.0)).collect();
    if 2 * kept.len() > rows && rows > 1 {
        return dense(dy);
    }
    let slopes = kept.iter().map(|row| of(*row).iter().filter(|slope| **slope != 0.0).count()).sum::<usize>();
    let mut result = vec![0.0; rows * inner];
    if slopes * FEW > kept.len() * out {
        let found = dense(&kept.iter().flat_map(|row| of(*row)).copied().collect::<Vec<_>>())?.numbers();
        for (row, found) in kept.iter().zip(found.chunks_exact(inner.max(1))) {
            result[row * inner..(row + 1) * inner].copy_from_slice(found);
        }
        return Ok(result.into());
    }
    for at in kept {
        let sums = &mut result[at * inner..(at + 1) * inner];
        for (column, slope) in of(at).iter().enumerate().filter(|(_, slope)| **slope != 0.0) {
            let weights = row(column)?;
            let weights = FlatNumbers::of(&weights)?;
            for (sum, weight) in sums.iter_mut().zip(weights.slice()) {
                *sum = slope.mul_add(*weight, *sum);
            }
        }
    }
    Ok(result.into())
}

#[cfg(test)]
mod tests {
    use candle_core::{Tensor, Var};

    use crate::linear::packed::{PackedMatrix, linear_packed};
    use crate::linear::{linear, linear_plain};
    use crate::tests::{assert_close, numbers};

    /// Checks gradients that are 0 in all rows, in most, in all numbers but some, and nowhere.
    #[test]
    fn zeros_are_left_out_and_the_rest_is_as_it_was() {
        let inner = 64;
        let out = 300;
        let weight = numbers(&[out, inner], 1.0, 1);
        let packed = PackedMatrix::int8(&weight).unwrap().unwrap();
        for rows in [1, 5] {
            let x = Var::from_tensor(&numbers(&[rows, inner], 1.0, 2)).unwrap();
            for kept in [vec![], vec![3], vec![0, 299], (0..out).collect()] {
                for first in [0, rows - 1] {
                    let mut slopes = vec![0.0_f32; rows * out];
                    for (at, column) in kept.iter().enumerate() {
                        slopes[first * out + column] = 0.5 + at as f32 / 7.0;
                    }
                    let slopes = Tensor::from_vec(slopes, (rows, out), x.device()).unwrap();
                    let gradient = |y: Tensor| {
                        let total = (y * &slopes).unwrap().sum_all().unwrap();
                        total.backward().unwrap().get(&x).unwrap().clone()
                    };
                    let by = |weight: &Tensor| gradient(linear_plain(&x, weight, None).unwrap());
                    assert_close(&gradient(linear(&x, &weight, None).unwrap()), &by(&weight), 1e-5, 1.0);
                    let wide = packed.tensor().unwrap();
                    assert_close(&gradient(linear_packed(&x, &packed, None, None).unwrap()), &by(&wide), 1e-5, 1.0);
                }
            }
        }
    }
}
