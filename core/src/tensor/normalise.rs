//! Softmax and its logarithm, the divergence of distributions, and cosine similarity.

use candle_core::{DType, Tensor};

use super::{axes, backward, device, dtype, element};
use crate::base::Result;

/// Computes e^x / sum e^x along an axis.
pub fn softmax(t: &Tensor, axis: i64) -> Result<Tensor> {
    let share = shifted(t, axis, |x, axis| {
        let powers = x.exp()?;
        powers.broadcast_div(&powers.sum_keepdim(axis)?)
    })?;
    let axis = axes::axis(axis, t.rank())?;
    noted(share, t, move |share, gradient| {
        let weighted = (share * gradient)?;
        Ok((&weighted - share.broadcast_mul(&weighted.sum_keepdim(axis)?)?)?)
    })
}

/// Computes log(e^x / sum e^x) along an axis.
pub fn log_softmax(t: &Tensor, axis: i64) -> Result<Tensor> {
    let logs = shifted(t, axis, |x, axis| x.broadcast_sub(&x.exp()?.sum_keepdim(axis)?.log()?))?;
    let axis = axes::axis(axis, t.rank())?;
    noted(logs, t, move |logs, gradient| Ok((gradient - logs.exp()?.broadcast_mul(&gradient.sum_keepdim(axis)?)?)?))
}

/// Computes the log probabilities that logits give along the last axis, in f64.
pub fn log_probabilities(logits: &Tensor) -> Result<Tensor> {
    log_softmax(&dtype::convert(logits, DType::F64)?, -1)
}

/// Computes KL(p || q) = sum p (log p - log q) along the last axis, in nats, of the predictions p and q that two logits of one
/// shape give; a gradient flows to the second. In f64, but in f32 where that has a gradient and is no f64.
pub fn divergences(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    Ok(kernels::divergences(p, q)?)
}

/// Returns a result in the float dtype for `t`, with its backward pass, which is computed in f32 at least.
fn noted(
    result: Tensor,
    t: &Tensor,
    slope: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let like = t.detach();
    let work = if t.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    Ok(backward::on_tape(result, &[t], move |result, gradient| {
        let found = slope(&dtype::convert(result, work)?, &dtype::convert(gradient, work)?)?;
        Ok(vec![Some(backward::like(&found, &like)?)])
    }))
}

/// Applies a function after subtracting the maximum, so that nothing overflows. Half precision is computed in f32.
fn shifted(t: &Tensor, axis: i64, f: impl Fn(&Tensor, usize) -> candle_core::Result<Tensor>) -> Result<Tensor> {
    let axis = axes::axis(axis, t.rank())?;
    let work = if t.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    // The shifted numbers, their powers and the result.
    element::room_beside(t.dims(), work, &[work, work])?;
    let x = dtype::convert(t, work)?;
    let to = dtype::float_for(t.dtype());
    if t.elem_count() == 0 {
        return Ok(x.to_dtype(to)?);
    }
    let most = x.max_keepdim(axis)?.detach();
    Ok(f(&x.broadcast_sub(&most)?, axis)?.to_dtype(to)?)
}

/// Computes a . b / (|a| |b|) along an axis, in f64; 0 where a vector is 0.
pub fn cosine(a: &Tensor, b: &Tensor, axis: i64) -> Result<Tensor> {
    let dims = axes::broadcast(a.dims(), b.dims())?;
    let axis = axes::axis(axis, dims.len())?;
    // Both, and their product.
    element::room_beside(&dims, DType::F64, &[DType::F64; 2])?;
    let stretch = |t: &Tensor| -> Result<Tensor> { Ok(dtype::convert(t, DType::F64)?.broadcast_as(dims.as_slice())?) };
    let x = stretch(&device::on_device_of(a, b)?)?;
    let y = stretch(&device::on_device_of(b, a)?)?;
    let dot = (&x * &y)?.sum(axis)?;
    let squares = (x.sqr()?.sum(axis)? * y.sqr()?.sum(axis)?)?;
    // A norm of 0 becomes 1: the result is 0 / 1 = 0, without 0 / 0 in the gradient.
    let sizes = squares.eq(0.0)?.where_cond(&squares.ones_like()?, &squares)?.sqrt()?;
    Ok((dot / sizes)?.to_dtype(dtype::float_for(dtype::promote(a.dtype(), b.dtype())))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fixture::t;

    fn f64s(t: Result<Tensor>) -> Vec<f64> {
        element::floats(&t.unwrap()).unwrap()
    }

    #[test]
    fn softmax_over_every_dtype() {
        for dtype in dtype::ALL {
            let x = t(&[1.0, 1.0, 0.0, 100.0], &[2, 2], dtype);
            let result = softmax(&x, -1).unwrap();
            assert_eq!(result.dtype(), dtype::float_for(dtype));
            let values = f64s(Ok(result));
            assert!(values[..2] == [0.5, 0.5] && values[2] < 1e-40 && values[3] == 1.0, "{dtype:?} {values:?}");
            let logs = f64s(log_softmax(&x, 1));
            assert!((logs[0] + 2.0_f64.ln()).abs() < 1e-2 && (logs[2] + 100.0).abs() < 5.0, "{dtype:?} {logs:?}");
        }
        let large = t(&[1e30, -1e30, f64::NEG_INFINITY], &[3], DType::F32);
        assert_eq!(f64s(softmax(&large, 0)), [1.0, 0.0, 0.0]);
        assert_eq!(softmax(&t(&[], &[2, 0], DType::F32), 1).unwrap().dims(), [2, 0]);
        assert!(softmax(&t(&[1.0], &[], DType::F32), 0).is_err());
    }

    #[test]
    fn the_divergence_of_equals_is_0_and_that_of_others_its_formula() {
        let a = t(&[0.5, 0.25, 0.25].map(f64::ln), &[1, 3], DType::F64);
        let b = t(&[1.0; 3], &[1, 3], DType::F32);
        let of = |p: &Tensor, q: &Tensor| f64s(divergences(p, q))[0];
        assert!(of(&a, &a).abs() < 1e-15);
        let expected = 0.5 * (1.5_f64).ln() + 0.5 * (0.75_f64).ln();
        assert!((of(&a, &b) - expected).abs() < 1e-12);
    }

    #[test]
    fn cosines() {
        let a = t(&[1.0, 0.0, 3.0, 4.0, 0.0, 0.0], &[3, 2], DType::F32);
        let b = t(&[2.0, 0.0], &[2], DType::F32);
        let found = f64s(cosine(&a, &b, -1));
        assert_eq!(found, [1.0, f64::from(0.6_f32), 0.0]);
        let large = t(&[1e30, 1e30], &[2], DType::F32);
        assert!((f64s(cosine(&large, &large, 0))[0] - 1.0).abs() < 1e-6);
    }
}
