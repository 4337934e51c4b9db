//! Linear maps and sums.

use candle_core::Tensor;
use pulp::Simd;

use super::activation::{Activation, activate_plain};
use super::elementwise::{Two, zip};
use super::level::arch;
use super::numbers::{Fresh, Numbers, flat, fusible};
use super::product::{self, Finish};
use crate::base::Result;

/// x W^T + b for x `[.., in]`, W `[out, in]`, b `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    fused(x, weight, bias, None)?.map_or_else(|| linear_plain(x, weight, bias), Ok)
}

/// act(x W^T + b), for when nobody asks for what the activation is of.
pub fn linear_activated(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, act: Activation) -> Result<Tensor> {
    fused(x, weight, bias, Some(act))?.map_or_else(|| activate_plain(&linear_plain(x, weight, bias)?, act), Ok)
}

/// a + b, of the same shape.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !fusible([a, b]) || a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Ok((a + b)?);
    }
    let (dtype, arch, flat_a, flat_b) = (a.dtype(), arch(), flat(a)?, flat(b)?);
    let (a_numbers, b_numbers) = (Numbers::of(&flat_a)?, Numbers::of(&flat_b)?);
    let (a_numbers, b_numbers) = (a_numbers.slice(), b_numbers.slice());
    let mut out = Fresh::new(a_numbers.len())?;
    out.write(1, 1, |begin, out| {
        let end = begin + out.len();
        zip(arch, out, &a_numbers[begin..end], &b_numbers[begin..end], Sum);
    });
    out.tensor(a.dims(), dtype)
}

#[derive(Clone, Copy)]
struct Sum;

impl Two for Sum {
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.add_f32s(a, b)
    }
}

/// The fused product, or nothing where it does not apply.
fn fused(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Option<Tensor>> {
    let (Some(&inner), &[out, weight_inner]) = (x.dims().last(), weight.dims()) else { return Ok(None) };
    let fits = inner == weight_inner && bias.is_none_or(|bias| bias.dims() == [out]);
    if !fits || !fusible([x, weight].into_iter().chain(bias)) {
        return Ok(None);
    }
    let mut shape = x.dims().to_vec();
    shape.pop();
    let rows = shape.iter().product();
    shape.push(out);
    let (flat_x, weight) = (flat(x)?, weight.contiguous()?);
    let flat_bias = bias.map(flat).transpose()?;
    let bias = flat_bias.as_ref().map(Numbers::of).transpose()?;
    let finish = Finish { bias: bias.as_ref().map(Numbers::slice), act };
    let x_numbers = Numbers::of(&flat_x)?;
    let mut result = Fresh::new(rows * out)?;
    let sizes = product::Sizes { rows, inner, out };
    product::product(&mut result, x_numbers.slice(), &product::Matrix::of(&weight)?, sizes, finish);
    Ok(Some(result.tensor(&shape, x.dtype())?))
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
