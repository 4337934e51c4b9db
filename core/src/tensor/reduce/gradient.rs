//! The gradients of reductions, row by row, where a row is what lies along the reduced axes.
//!
//! Where several elements of a row are extreme they share the gradient; where a derivative does not exist (a standard
//! deviation or a norm of 0) it counts as 0.

use candle_core::{DType, Tensor};

use super::Reduction::{self, *};
use super::one;
use crate::base::{Result, order};
use crate::tensor::{axes, backward, dtype, element};

/// Returns the result of a reduction over these axes, with its backward pass.
pub fn noted(result: Tensor, t: &Tensor, how: Reduction, over: Vec<usize>) -> Result<Tensor> {
    let x = t.detach();
    backward::with_gradient("a reduction", result, &[t], move |_, gradient| {
        let kept = gradient.reshape(axes::reduced(x.dims(), &over, true))?;
        let found = match how {
            Sum => backward::like(&kept, &x)?.broadcast_as(x.dims())?,
            Mean => {
                let count = over.iter().map(|axis| x.dims()[*axis]).product::<usize>();
                (backward::like(&kept, &x)? / count as f64)?.broadcast_as(x.dims())?
            }
            _ => by_rows(&x, &kept, how, &over)?,
        };
        Ok(vec![Some(found.contiguous()?)])
    })
}

fn by_rows(x: &Tensor, gradient: &Tensor, how: Reduction, over: &[usize]) -> Result<Tensor> {
    // The reduced axes last, so that a row lies in one piece.
    let rest: Vec<usize> = (0..x.rank()).filter(|axis| !over.contains(axis)).collect();
    let order = [rest, over.to_vec()].concat();
    let turned = x.permute(&order[..])?;
    let length = over.iter().map(|axis| x.dims()[*axis]).product::<usize>().max(1);
    let numbers = element::floats(&turned)?;
    let gradients = element::floats(gradient)?;
    let mut found = vec![0.0; numbers.len()];
    for ((row, slopes), gradient) in numbers.chunks(length).zip(found.chunks_mut(length)).zip(gradients) {
        slope(row, how, slopes);
        slopes.iter_mut().for_each(|slope| *slope *= gradient);
    }
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, axis)| back[*axis] = place);
    let found = element::tensor(found, turned.dims(), DType::F64, x.device())?;
    dtype::convert(&found.permute(back)?, x.dtype())
}

/// Writes the derivative of a row's reduction by each of its elements.
fn slope(row: &[f64], how: Reduction, slopes: &mut [f64]) {
    let count = row.len() as f64;
    let result = one(row, how);
    let mut each = |f: &dyn Fn(f64) -> f64| slopes.iter_mut().zip(row).for_each(|(slope, x)| *slope = f(*x));
    let mean = || row.iter().sum::<f64>() / count;
    match how {
        Sum => each(&|_| 1.0),
        Mean => each(&|_| 1.0 / count),
        Var { correction } => {
            let mean = mean();
            each(&|x| 2.0 * (x - mean) / (count - correction));
        }
        Std { .. } if result == 0.0 => {}
        Std { correction } => {
            let mean = mean();
            each(&|x| (x - mean) / (result * (count - correction)));
        }
        Min | Max => {
            let extreme = row.iter().filter(|x| **x == result).count() as f64;
            each(&|x| if x == result { 1.0 / extreme } else { 0.0 });
        }
        Norm { p } if p.is_infinite() => {
            let extreme = row.iter().filter(|x| x.abs() == result).count() as f64;
            each(&|x| if x.abs() == result && x != 0.0 { x.signum() / extreme } else { 0.0 });
        }
        Norm { p: 1.0 } => each(&|x| if x == 0.0 { 0.0 } else { x.signum() }),
        Norm { .. } if result == 0.0 => {}
        Norm { p } => each(&|x| if x == 0.0 { 0.0 } else { x.signum() * (x.abs() / result).powf(p - 1.0) }),
        LogSumExp => each(&|x| if x == result { 1.0 } else { (x - result).exp() }),
        Prod => others(row, slopes),
        Median => ranked(row, 0.5, slopes),
        Quantile { q } => ranked(row, q, slopes),
        Any | All => {}
    }
}

/// Writes the product of all other elements, without a division, so that zeros are no trouble.
fn others(row: &[f64], slopes: &mut [f64]) {
    let mut before = 1.0;
    for (slope, x) in slopes.iter_mut().zip(row) {
        *slope = before;
        before *= x;
    }
    let mut after = 1.0;
    for (slope, x) in slopes.iter_mut().zip(row).rev() {
        *slope *= after;
        after *= x;
    }
}

/// Adds the derivative of a quantile, which lies between the elements of two ranks; they share the gradient as they
/// share the result.
fn ranked(row: &[f64], q: f64, slopes: &mut [f64]) {
    let order = order::ascending(row);
    let place = q * (row.len() - 1) as f64;
    let below = place.floor() as usize;
    let part = place.fract();
    slopes[order[below]] += 1.0 - part;
    if let Some(above) = order.get(below + 1).filter(|_| part > 0.0) {
        slopes[*above] += part;
    }
}
