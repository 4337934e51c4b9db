//! Linear maps whose matrix is packed, with the gradient of what they read.

use candle_core::{DType, Device, Tensor};

use super::PackedMatrix;
use crate::arguments::activation::Activation;
use crate::base::error::{Result, bail};
use crate::linear::activation::activation_gradient;
use crate::linear::factor::{Factor, Onto};
use crate::linear::matrix::Matrix;
use crate::linear::of_input::of_input;
use crate::linear::tile::ProductSizes;
use crate::linear::{column_sums, fused, in_tiles, linear_plain};
use crate::numbers::{FlatNumbers, Fresh, Implementation, flat};
use crate::tape::record::record_by_gradient;

/// Rows of the matrix that are f32 at a time in the backward pass.
const ROWS: usize = 512;

/// Computes act(x W^T + b) for x `[.., in]` and b `[out]`.
pub fn linear_packed(
    x: &Tensor,
    weight: &PackedMatrix,
    bias: Option<&Tensor>,
    act: Option<Activation>,
) -> Result<Tensor> {
    let [out, inner] = weight.dims();
    let Some((&last, before)) = x.dims().split_last() else { bail!(Shape, "expected rows, found a number") };
    if last != inner || bias.is_some_and(|bias| bias.dims() != [out]) {
        bail!(Shape, "expected rows of {inner} numbers and a bias of {out}, found {:?}", x.dims());
    }
    if !matches!(x.device(), Device::Cpu) {
        bail!(Argument, "a quantised matrix computes in the CPU's memory, found rows elsewhere");
    }
    let sizes = ProductSizes { rows: before.iter().product(), inner, out };
    let shape = [before, &[out]].concat();
    let arguments: Vec<&Tensor> = [x].into_iter().chain(bias).collect();
    let matrix = Matrix::Packed(weight);
    match Implementation::of(&arguments) {
        Implementation::Fused => fused(x, &matrix, bias, act, sizes)?.tensor(&shape, x.dtype()),
        Implementation::Recorded => {
            let inner = fused(x, &matrix, bias, None, sizes)?;
            let (inner, result) = match act {
                None => (None, inner),
                Some(act) => {
                    let inner = inner.tensor(&shape, DType::F32)?;
                    let result = crate::linear::activation::fused(&inner, act)?;
                    (Some((inner, act)), result)
                }
            };
            let weight = weight.clone();
            let asked = arguments.iter().map(|t| t.track_op()).collect::<Vec<_>>();
            let x_shape = x.dims().to_vec();
            record_by_gradient("linear_packed", result, &shape, &arguments, move |gradient| {
                let gradient = match &inner {
                    Some((inner, act)) => flat(&activation_gradient(inner, gradient, *act)?)?,
                    None => flat(gradient)?,
                };
                let numbers = FlatNumbers::of(&gradient)?;
                let of = |part: usize| match part {
                    0 => {
                        let row = |row| weight.rows(row, 1)?.tensor();
                        let dense = |gradient: &[f32]| of_x(gradient, &weight);
                        of_input(numbers.slice(), [weight.inner, out], dense, row)?.tensor(&x_shape, DType::F32)
                    }
                    _ => column_sums(numbers.slice(), out)?.tensor(&[out], DType::F32),
                };
                asked.iter().enumerate().map(|(part, asked)| asked.then(|| of(part)).transpose()).collect()
            })
        }
        Implementation::Plain => {
            let weight = weight.tensor()?.to_dtype(x.dtype())?;
            let y = linear_plain(x, &weight, bias)?;
            act.map_or(Ok(y.clone()), |act| crate::linear::activation::activate_plain(&y, act))
        }
    }
}

/// Computes dy W for dy `[rows, out]`, one part of W's rows after the other.
fn of_x(gradient: &[f32], weight: &PackedMatrix) -> Result<Fresh> {
    let [out, inner] = weight.dims();
    let rows = gradient.len() / out.max(1);
    let mut result = Fresh::from(vec![0.0; rows * inner]);
    for start in (0..out).step_by(ROWS) {
        let part = weight.rows(start, ROWS.min(out - start))?.tensor()?;
        let part = FlatNumbers::of(&part)?;
        let gradient = Factor { numbers: gradient, row: out as isize, column: 1 }.from(0, start);
        let weight = Factor { numbers: part.slice(), row: inner as isize, column: 1 };
        let sizes = [rows, inner, ROWS.min(out - start)];
        // SAFETY: the result has as many numbers, all written, and nothing else refers to it.
        unsafe { in_tiles(result.pointer(), sizes, gradient, weight, Onto::WhatIsThere) };
    }
    Ok(result)
}
