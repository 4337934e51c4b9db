//! The geometric median of rows: where the sum of distances to them is smallest.

use crate::common::*;

const ROUNDS: usize = 100;
const CLOSE: f64 = 1e-5;

/// Computes the geometric median by Weiszfeld's iteration from the mean (Bricken et al. 2023, appendix). A row that the
/// guess stands on counts as if it were very near, not infinitely so.
pub fn geometric_median(rows: &Tensor, task: &Task) -> Result<Tensor> {
    let mut guess = rows.mean_keepdim(0)?;
    for _ in 0..ROUNDS {
        task.check()?;
        let distances = rows.broadcast_sub(&guess)?.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
        let weights = distances.recip()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(0)?)?;
        let next = rows.broadcast_mul(&weights)?.sum_keepdim(0)?;
        let moved = (&next - &guess)?.sqr()?.sum_all()?.sqrt()?.to_dtype(crate::tensor::DType::F64)?;
        guess = next;
        if moved.to_scalar::<f64>()? < CLOSE {
            break;
        }
    }
    Ok(guess.squeeze(0)?)
}
