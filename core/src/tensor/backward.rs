//! Backward passes of functions of tensors: how a result keeps what its gradient needs.
//!
//! A result that candle differentiates itself is noted on the tape of a gradient ([`on_tape`]), with a backward pass that
//! computes only what is asked for; one that candle cannot differentiate has its own everywhere ([`with_gradient`]).

use candle_core::Tensor;
use kernels::ArgumentGradients;

use super::{dtype, element};
use crate::base::{Error, Result};

/// Converts the error of a backward pass for its way through the kernels.
fn lowered(error: Error) -> kernels::Error {
    kernels::Error { kind: error.kind, message: error.message, hint: None }
}

/// Returns a result that was computed without gradients, of one to three arguments, with its backward pass.
/// `back(result, its gradient)` returns a gradient for every argument that tracks operations, in the argument's shape
/// and dtype.
pub fn with_gradient(
    name: &'static str,
    result: Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if arguments.iter().all(|argument| !argument.track_op()) {
        return Ok(result);
    }
    let back = move |result: &Tensor, gradient: &Tensor| back(result, gradient).map_err(lowered);
    Ok(kernels::with_gradient(name, &result, arguments, back)?)
}

/// Returns a result that candle computed, with a backward pass for gradients that are taken with a tape.
pub fn on_tape(
    result: Tensor,
    arguments: &[&Tensor],
    back: impl Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync + 'static,
) -> Tensor {
    kernels::on_tape(result, arguments, move |result, gradient| back(result, gradient).map_err(lowered))
}

/// Returns the result of a function of one tensor whose derivative at every element is `slope(result)`, for gradients
/// that are taken with a tape.
pub fn on_tape_by(
    result: Tensor,
    argument: &Tensor,
    slope: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Tensor {
    on_tape(result, &[argument], move |result, gradient| Ok(vec![Some((gradient * slope(result)?)?)]))
}

/// Returns the gradient of a tensor of these sizes that was broadcast: the sum over the copies of each element.
pub fn summed_to(gradient: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if gradient.dims() == dims {
        return Ok(gradient.clone());
    }
    let ahead = gradient.rank() - dims.len();
    let copied = |axis: usize| axis < ahead || dims[axis - ahead] != gradient.dims()[axis];
    let last = (0..gradient.rank()).rev().find(|axis| copied(*axis)).map_or(0, |axis| axis + 1);
    let is_plain = gradient.dtype() == candle_core::DType::F32 && gradient.device().is_cpu();
    if is_plain && (0..last).all(|axis| copied(axis) || gradient.dims()[axis] == 1) {
        return leading_sum(gradient, last, dims);
    }
    let over: Vec<usize> = (0..gradient.rank()).filter(|axis| copied(*axis)).collect();
    Ok(gradient.sum_keepdim(over)?.reshape(dims)?)
}

/// Returns the sum over the first axes, as of the gradient of a bias.
fn leading_sum(gradient: &Tensor, axes: usize, dims: &[usize]) -> Result<Tensor> {
    let inner: usize = gradient.dims()[axes..].iter().product();
    let mut sums = vec![0.0_f32; inner];
    element::with_slice::<f32, _>(gradient, |numbers| {
        if inner == 1 {
            // Eight lanes, so that the additions do not wait for each other.
            let eights = numbers.chunks_exact(8);
            let rest: f32 = eights.remainder().iter().sum();
            let mut lanes = [0.0_f32; 8];
            eights.for_each(|eight| lanes.iter_mut().zip(eight).for_each(|(lane, x)| *lane += x));
            sums[0] = lanes.iter().sum::<f32>() + rest;
            return Ok(());
        }
        for row in numbers.chunks_exact(inner.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        Ok(())
    })?;
    Ok(Tensor::from_vec(sums, dims, gradient.device())?)
}

/// Returns the gradient in the dtype and on the device of a tensor.
pub fn like(gradient: &Tensor, t: &Tensor) -> Result<Tensor> {
    Ok(dtype::convert(gradient, t.dtype())?.to_device(t.device())?)
}

/// Returns a tensor in another shape.
pub fn reshaped(t: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if t.dims() == dims { Ok(t.clone()) } else { Ok(kernels::reshape(t, dims)?) }
}
