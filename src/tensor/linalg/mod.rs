//! Linear algebra on matrices, computed in f64 by faer and returned in the tensor's float dtype.
//!
//! Signs that a decomposition leaves open are fixed, so that results are the same everywhere.

mod decompose;
mod solve;

pub use decompose::{cholesky, eigh, qr, svd};
pub use solve::{RcondOptions, det, inverse, lstsq, pinv, rank, solve};

use candle_core::{DType, Tensor};
use faer::{Mat, MatRef};

use super::{dtype, element};
use crate::bail;
use crate::base::Result;

/// The matrix in f64; other shapes and numbers that are not finite are refused.
fn matrix(t: &Tensor) -> Result<Mat<f64>> {
    let &[rows, columns] = t.dims() else {
        bail!(Shape, "expected a matrix, found shape {:?}", t.dims());
    };
    filled(t, rows, columns)
}

/// A square matrix in f64.
fn square(t: &Tensor) -> Result<Mat<f64>> {
    match t.dims() {
        [rows, columns] if rows == columns => matrix(t),
        dims => bail!(Shape, "expected a square matrix, found shape {dims:?}"),
    }
}

/// A matrix, or a vector as a matrix of one column.
fn columns(t: &Tensor) -> Result<Mat<f64>> {
    match *t.dims() {
        [len] => filled(t, len, 1),
        [rows, columns] => filled(t, rows, columns),
        _ => bail!(Shape, "expected a matrix or a vector, found shape {:?}", t.dims()),
    }
}

fn filled(t: &Tensor, rows: usize, columns: usize) -> Result<Mat<f64>> {
    // faer works on its own copy.
    element::room(&[2, rows, columns], DType::F64)?;
    let values = element::floats(t)?;
    let broken = values.iter().filter(|v| !v.is_finite()).count();
    if broken > 0 {
        let nans = values.iter().filter(|v| v.is_nan()).count();
        bail!(Numeric, "expected finite numbers, found {nans} NaN and {} infinite", broken - nans);
    }
    Ok(Mat::from_fn(rows, columns, |i, j| values[i * columns + j]))
}

/// The matrix as a tensor with dtype and device of `like`.
fn tensor(m: MatRef<'_, f64>, like: &Tensor) -> Result<Tensor> {
    shaped(m, &[m.nrows(), m.ncols()], like)
}

fn shaped(m: MatRef<'_, f64>, dims: &[usize], like: &Tensor) -> Result<Tensor> {
    let values = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    element::tensor(values, dims, dtype::float_for(like.dtype()), like.device())
}

/// The relative rounding error of this dtype.
fn precision(t: &Tensor) -> f64 {
    match t.dtype() {
        DType::F64 | DType::I64 | DType::U32 | DType::I32 => f64::EPSILON,
        DType::BF16 => 2.0_f64.powi(-7),
        DType::F16 => 2.0_f64.powi(-10),
        _ => f64::from(f32::EPSILON),
    }
}

#[cfg(test)]
mod tests;
