//! Layer norm and RMS norm over the last axis.

mod back;
pub(crate) mod rows;

use candle_core::{DType, Tensor};

use crate::arguments::norm::{Affine, NormKind, row_width};
use crate::base::error::Result;
use crate::base::instructions::arch;
use crate::device;
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat, fusible};
use crate::tape::record::record_by_gradient;
use back::{NormAndInput, input_gradients};
use rows::{Divisor, NormRows, Scales};

/// Computes the norm of every row, times `weight` (plus 1 where `plus_one`), plus `bias`. Half precision is computed in
/// f32.
pub fn norm(
    x: &Tensor,
    kind: NormKind,
    eps: f64,
    weight: Option<&Tensor>,
    plus_one: bool,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let affine = Affine { weight, plus_one, bias };
    match affine.way(x) {
        // A GPU refuses to reduce what has no numbers.
        Implementation::Plain if x.elem_count() == 0 => Ok(x.clone()),
        Implementation::Fused => fused(x, kind, Divisor::Own(eps as f32), affine)?.tensor(x.dims(), x.dtype()),
        Implementation::Recorded => {
            let arguments: Vec<&Tensor> = [x].into_iter().chain(weight).chain(bias).collect();
            let normed = NormAndInput::of(x, kind, eps as f32, affine)?;
            let result = fused(x, kind, Divisor::Own(eps as f32), affine)?;
            record_by_gradient("norm", result, x.dims(), &arguments, move |gradient| normed.gradients(gradient))
        }
        Implementation::Plain => match device::norm(x, kind, eps, affine)? {
            Some(found) => Ok(found),
            None => norm_with_scale_plain(x, kind, &norm_scale_plain(x, kind, eps)?, affine),
        },
    }
}

/// Computes the gradient of a norm's input `x` for several gradients of its result, `[copies, ..]` with the axes of x
/// behind.
pub fn norm_gradient(
    x: &Tensor,
    kind: NormKind,
    eps: f64,
    weight: Option<&Tensor>,
    plus_one: bool,
    gradients: &Tensor,
) -> Result<Tensor> {
    let affine = Affine { weight, plus_one, bias: None };
    let x = x.detach();
    let gradients = gradients.detach();
    if affine.way(&x) == Implementation::Fused && fusible(&[&gradients]) {
        return input_gradients(&x, kind, eps as f32, affine, &gradients);
    }
    let wide = widened(&x)?;
    let scale = norm_scale_plain(&wide, kind, eps)?;
    let normed = centred(&wide, kind)?.broadcast_div(&scale)?;
    let mut g = widened(&gradients)?;
    if let Some(weight) = affine.weight {
        let weight = widened(weight)?;
        g = g.broadcast_mul(&if plus_one { (weight + 1.0)? } else { weight })?;
    }
    let along = g.broadcast_mul(&normed)?.mean_keepdim(candle_core::D::Minus1)?;
    let found = centred(&g, kind)?.broadcast_sub(&along.broadcast_mul(&normed)?)?.broadcast_div(&scale)?;
    Ok(found.to_dtype(x.dtype())?)
}

/// Computes the divisor of the norm: `[.., 1]`.
pub fn norm_scale(x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
    if Affine::default().way(x) != Implementation::Fused {
        return norm_scale_plain(x, kind, eps);
    }
    let width = row_width(x);
    let arch = arch();
    let flat_x = flat(x)?;
    let numbers = FlatNumbers::of(&flat_x)?;
    let x_numbers = numbers.slice();
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(1);
    let mut scales = Fresh::new(x_numbers.len() / width)?;
    scales.write(1, width, |first, out| {
        let x = &x_numbers[first * width..(first + out.len()) * width];
        arch.dispatch(Scales { out, x, width, kind, eps: eps as f32 });
    });
    scales.tensor(&shape, x.dtype())
}

/// Computes the norm with a given divisor.
pub fn norm_with_scale(
    x: &Tensor,
    kind: NormKind,
    scale: &Tensor,
    weight: Option<&Tensor>,
    plus_one: bool,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let affine = Affine { weight, plus_one, bias };
    let rows = x.elem_count() / row_width(x);
    let fits = scale.elem_count() == rows && scale.rank() == x.rank();
    if fits && affine.way(x) == Implementation::Fused && fusible(&[scale]) {
        let scale = flat(scale)?;
        return fused(x, kind, Divisor::Given(FlatNumbers::of(&scale)?.slice()), affine)?.tensor(x.dims(), x.dtype());
    }
    norm_with_scale_plain(x, kind, scale, affine)
}

fn fused(x: &Tensor, kind: NormKind, divisor: Divisor, affine: Affine) -> Result<Fresh> {
    let width = row_width(x);
    let arch = arch();
    let flat_x = flat(x)?;
    let weight = affine.factor()?;
    let bias = affine.bias.map(flat).transpose()?;
    let weight = weight.as_ref().map(FlatNumbers::of).transpose()?;
    let bias = bias.as_ref().map(FlatNumbers::of).transpose()?;
    let weight = weight.as_ref().map(FlatNumbers::slice);
    let bias = bias.as_ref().map(FlatNumbers::slice);
    let numbers = FlatNumbers::of(&flat_x)?;
    let x_numbers = numbers.slice();
    let mut out = Fresh::new(x_numbers.len())?;
    out.write(width, width, |first, out| {
        let x = &x_numbers[first * width..first * width + out.len()];
        let divisor = divisor.of_rows(first, out.len() / width);
        arch.dispatch(NormRows { out, x, width, kind, divisor, weight, bias });
    });
    Ok(out)
}

pub(crate) fn norm_scale_plain(x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
    let wide = widened(x)?;
    let centred = centred(&wide, kind)?;
    Ok((centred.sqr()?.mean_keepdim(candle_core::D::Minus1)? + eps)?.sqrt()?.to_dtype(x.dtype())?)
}

pub(crate) fn norm_with_scale_plain(x: &Tensor, kind: NormKind, scale: &Tensor, affine: Affine) -> Result<Tensor> {
    let wide = widened(x)?;
    let mut y = centred(&wide, kind)?.broadcast_div(&widened(scale)?)?;
    if let Some(weight) = affine.weight {
        let weight = widened(weight)?;
        y = y.broadcast_mul(&if affine.plus_one { (weight + 1.0)? } else { weight })?;
    }
    if let Some(bias) = affine.bias {
        y = y.broadcast_add(&widened(bias)?)?;
    }
    Ok(y.to_dtype(x.dtype())?)
}

fn centred(x: &Tensor, kind: NormKind) -> Result<Tensor> {
    Ok(match kind {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(candle_core::D::Minus1)?)?,
        NormKind::Rms => x.clone(),
    })
}

fn widened(x: &Tensor) -> Result<Tensor> {
    Ok(match x.dtype() {
        DType::F64 => x.clone(),
        _ => x.to_dtype(DType::F32)?,
    })
}
