//! Linear algebra on matrices, computed in f64 by faer and returned in the tensor's float dtype.
//!
//! Signs that a decomposition leaves open are fixed, so that results are the same everywhere. Axes before the last two are a
//! batch of matrices. All results have gradients (`gradient.rs`), but for the rank, which is a count.

mod decompose;
mod gradient;
mod solve;

pub use decompose::{SvdTensors, cholesky, eigh, qr, svd};
pub use solve::{RcondOptions, det, inverse, lstsq, pinv, rank, solve};

use candle_core::{DType, Tensor};
use faer::linalg::solvers::{SelfAdjointEigen, Svd};
use faer::{Mat, MatRef, Side};

use super::index::{self, AxisIndex};
use super::{backward, dtype, element, shape};
use crate::common::*;

/// Returns the results of `one` for each matrix of a batch, with the axes of the batch in front.
fn over_batch<const N: usize>(a: &Tensor, one: impl Fn(&Tensor) -> Result<[Tensor; N]>) -> Result<[Tensor; N]> {
    let &[ref batch @ .., rows, columns] = a.dims() else { return one(a) };
    if batch.is_empty() {
        return one(a);
    }
    let flat = backward::reshaped(a, &[batch.iter().product(), rows, columns])?;
    joined(batch, |i| one(&index::get(&flat, &[AxisIndex::At(i)])?))
}

/// Returns the results for each place of a batch, stacked, with the axes of the batch in front.
fn joined<const N: usize>(batch: &[usize], one: impl Fn(i64) -> Result<[Tensor; N]>) -> Result<[Tensor; N]> {
    let count: usize = batch.iter().product();
    if count == 0 {
        bail!(Shape, "expected at least one matrix, found a batch of shape {batch:?}");
    }
    let mut parts: [Vec<Tensor>; N] = std::array::from_fn(|_| Vec::with_capacity(count));
    for i in 0..count {
        parts.iter_mut().zip(one(i as i64)?).for_each(|(parts, part)| parts.push(part));
    }
    let mut stacked = Vec::with_capacity(N);
    for parts in &parts {
        let whole = shape::stack(parts, 0)?;
        stacked.push(backward::reshaped(&whole, &[batch, &whole.dims()[1..]].concat())?);
    }
    match stacked.try_into() {
        Ok(stacked) => Ok(stacked),
        Err(_) => bail!(Bug, "a batch of matrices has other results than each of them"),
    }
}

/// Returns the matrix in f64; other shapes and numbers that are not finite are refused.
fn matrix(t: &Tensor) -> Result<Mat<f64>> {
    let &[rows, columns] = t.dims() else {
        bail!(Shape, "expected a matrix, found shape {:?}", t.dims());
    };
    filled(t, rows, columns)
}

/// Returns a square matrix in f64.
fn square(t: &Tensor) -> Result<Mat<f64>> {
    match t.dims() {
        [rows, columns] if rows == columns => matrix(t),
        dims => bail!(Shape, "expected a square matrix, found shape {dims:?}"),
    }
}

/// Returns a matrix, or a vector as a matrix of one column.
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
    Ok(of_rows(&values, rows, columns))
}

/// Returns numbers that are row after row as a matrix, whose columns are stored one after another.
pub fn of_rows(values: &[f64], rows: usize, columns: usize) -> Mat<f64> {
    // A line of the cache has numbers of several columns, which are all copied while it is there.
    const AT_ONCE: usize = 64;
    let mut out = Mat::zeros(rows, columns);
    for first in (0..rows).step_by(AT_ONCE) {
        let some = first..(first + AT_ONCE).min(rows);
        for j in 0..columns {
            let column = &mut out.col_as_slice_mut(j)[some.clone()];
            for (i, place) in some.clone().zip(column) {
                *place = values[i * columns + j];
            }
        }
    }
    out
}

/// Converts a matrix to a tensor with dtype and device of `like`.
fn tensor(m: MatRef<'_, f64>, like: &Tensor) -> Result<Tensor> {
    shaped(m, &[m.nrows(), m.ncols()], like)
}

fn shaped(m: MatRef<'_, f64>, dims: &[usize], like: &Tensor) -> Result<Tensor> {
    let values = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    element::tensor(values, dims, dtype::float_for(like.dtype()), like.device())
}

/// A singular value decomposition of a matrix, A = U diag(s) V^T.
pub struct SvdMatrices {
    pub u: Mat<f64>,
    pub s: Vec<f64>,
    pub v: Mat<f64>,
}

/// Computes U, the singular values and V, with faer's signs. This and [`eigen`] are compiled here and nowhere else,
/// since they are the largest functions that there are.
pub fn singular(a: MatRef<'_, f64>) -> Result<SvdMatrices> {
    let k = a.nrows().min(a.ncols());
    if k == 0 {
        return Ok(SvdMatrices { u: Mat::zeros(a.nrows(), 0), s: Vec::new(), v: Mat::zeros(a.ncols(), 0) });
    }
    let svd = Svd::new_thin(a).map_err(|_| {
        err!(Numeric, "the singular values of this {} by {} matrix do not converge", a.nrows(), a.ncols())
    })?;
    let s = (0..k).map(|i| svd.S()[i]).collect();
    Ok(SvdMatrices { u: svd.U().to_owned(), s, v: svd.V().to_owned() })
}

/// Computes the eigenvalues of a symmetric matrix, of which the lower half is read, in ascending order, and the
/// eigenvectors as columns, with faer's signs.
pub fn eigen(m: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let size = m.nrows();
    let eigen = SelfAdjointEigen::new(m, Side::Lower)
        .map_err(|_| err!(Numeric, "the eigenvalues of this {size} by {size} matrix do not converge"))?;
    Ok(((0..size).map(|i| eigen.S()[i]).collect(), eigen.U().to_owned()))
}

/// Returns the relative rounding error of the tensor's dtype.
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
