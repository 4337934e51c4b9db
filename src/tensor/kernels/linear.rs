//! Linear maps and sums.

use candle_core::{DType, Tensor};
use pulp::Simd;

use super::activation::{Activation, activate_plain};
use super::activation_back::activation_gradient;
use super::elementwise::{Times, Two, map, zip};
use super::level::arch;
use super::linear_back::Linear;
use super::numbers::{Fresh, Numbers, Way, flat};
use super::product::{self, Finish};
use super::record::record;
use crate::base::Result;

/// x W^T + b for x `[.., in]`, W `[out, in]`, b `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let arguments = arguments(x, weight, bias);
    match (Sizes::of(x, weight, bias), Way::of(&arguments)) {
        (Some(sizes), Way::Fused) => fused(x, weight, bias, None, &sizes)?.tensor(&sizes.shape(x), x.dtype()),
        (Some(sizes), Way::Recorded) => {
            let result = fused(x, weight, bias, None, &sizes)?;
            let map = Linear::of(x, weight, bias)?;
            record("linear", result, &sizes.shape(x), &arguments, move |_, gradient| map.gradients(gradient))
        }
        _ => linear_plain(x, weight, bias),
    }
}

/// act(x W^T + b), for when nobody asks for what the activation is of.
pub fn linear_activated(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    let arguments = arguments(x, weight, bias);
    match (Sizes::of(x, weight, bias), Way::of(&arguments)) {
        (Some(sizes), Way::Fused) => fused(x, weight, bias, Some(act), &sizes)?.tensor(&sizes.shape(x), x.dtype()),
        (Some(sizes), Way::Recorded) => {
            // What the activation is of is kept, since it costs a product to make again.
            let shape = sizes.shape(x);
            let inner = fused(x, weight, bias, None, &sizes)?.tensor(&shape, x.dtype())?;
            let result = super::activation::fused(&inner, act)?;
            let map = Linear::of(x, weight, bias)?;
            record("linear_activated", result, &shape, &arguments, move |_, gradient| {
                map.gradients(&activation_gradient(&inner, gradient, act)?)
            })
        }
        _ => activate_plain(&linear_plain(x, weight, bias)?, act),
    }
}

/// a + b, of the same shape.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let way = if a.dims() == b.dims() && a.dtype() == b.dtype() { Way::of(&[a, b]) } else { Way::Plain };
    match way {
        Way::Fused => zipped(a, b, Sum)?.tensor(a.dims(), a.dtype()),
        Way::Recorded => {
            let asked = [a.track_op(), b.track_op()];
            record("add", zipped(a, b, Sum)?, a.dims(), &[a, b], move |_, gradient| {
                Ok(asked.iter().map(|asked| asked.then(|| gradient.clone())).collect())
            })
        }
        Way::Plain => Ok((a + b)?),
    }
}

/// a * b, of the same shape, in f32, without a history.
pub(super) fn times(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    zipped(a, b, Product)?.tensor(a.dims(), DType::F32)
}

/// x times a number, in f32, without a history.
pub(super) fn times_number(x: &Tensor, factor: f32) -> Result<Tensor> {
    if factor == 1.0 {
        return Ok(x.clone());
    }
    let (arch, flat) = (arch(), flat(x)?);
    let numbers = Numbers::of(&flat)?;
    let mut out = Fresh::new(numbers.slice().len())?;
    out.write(1, 1, |begin, out| map(arch, out, &numbers.slice()[begin..begin + out.len()], Times(factor)));
    out.tensor(x.dims(), DType::F32)
}

fn zipped(a: &Tensor, b: &Tensor, function: impl Two) -> Result<Fresh> {
    let (arch, flat_a, flat_b) = (arch(), flat(a)?, flat(b)?);
    let (a_numbers, b_numbers) = (Numbers::of(&flat_a)?, Numbers::of(&flat_b)?);
    let (a_numbers, b_numbers) = (a_numbers.slice(), b_numbers.slice());
    let mut out = Fresh::new(a_numbers.len())?;
    out.write(1, 1, |begin, out| {
        let end = begin + out.len();
        zip(arch, out, &a_numbers[begin..end], &b_numbers[begin..end], function);
    });
    Ok(out)
}

#[derive(Clone, Copy)]
struct Sum;

impl Two for Sum {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.add_f32s(a, b)
    }
}

#[derive(Clone, Copy)]
struct Product;

impl Two for Product {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(a, b)
    }
}

fn arguments<'a>(x: &'a Tensor, weight: &'a Tensor, bias: Option<&'a Tensor>) -> Vec<&'a Tensor> {
    [x, weight].into_iter().chain(bias).collect()
}

/// The sizes of arguments that fit each other.
struct Sizes(product::Sizes);

impl Sizes {
    fn of(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        let (Some((&inner, before)), &[out, weight_inner]) = (x.dims().split_last(), weight.dims()) else {
            return None;
        };
        let fits = inner == weight_inner && bias.is_none_or(|bias| bias.dims() == [out]);
        fits.then(|| Self(product::Sizes { rows: before.iter().product(), inner, out }))
    }

    /// Of the result for this x.
    fn shape(&self, x: &Tensor) -> Vec<usize> {
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(self.0.out);
        shape
    }
}

fn fused(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    act: Option<Activation>,
    Sizes(sizes): &Sizes,
) -> Result<Fresh> {
    let (flat_x, weight) = (flat(x)?, weight.detach().contiguous()?);
    let flat_bias = bias.map(flat).transpose()?;
    let bias = flat_bias.as_ref().map(Numbers::of).transpose()?;
    let finish = Finish { bias: bias.as_ref().map(Numbers::slice), act };
    let x_numbers = Numbers::of(&flat_x)?;
    let mut result = Fresh::new(sizes.rows * sizes.out)?;
    product::product(&mut result, x_numbers.slice(), &product::Matrix::of(&weight)?, *sizes, finish);
    Ok(result)
}

pub(super) fn linear_plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inner) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let product = x.reshape(((), inner))?.matmul(&weight.t()?)?.reshape(shape)?;
    Ok(match bias {
        Some(bias) => product.broadcast_add(bias)?,
        None => product,
    })
}
