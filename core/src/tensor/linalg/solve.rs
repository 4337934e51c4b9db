//! Systems of equations, inverses, determinants and rank.

use candle_core::Tensor;
use faer::Mat;
use faer::linalg::solvers::{PartialPivLu, Solve};

use super::{SvdMatrices, columns, gradient, joined, matrix, over_batch, precision, shaped, singular, square, tensor};
use crate::common::*;
use crate::tensor::index::{self, AxisIndex};
use crate::tensor::matmul::matmul;
use crate::tensor::{DType, backward, element};

crate::options! {
    pub struct RcondOptions {
        /// Singular values up to this part of the largest count as 0.
        rcond: Option<f64> = None => usually("the larger side times the rounding error of the dtype").at_least(0.0);
    }
}

/// Solves a x = b for a square matrix a and a vector or the columns of a matrix b; of a batch of matrices, for a batch of
/// either.
pub fn solve(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    each_pair(a, b, one_solve)
}

fn one_solve(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let m = square(a)?;
    let mut x = columns(b)?;
    if m.nrows() != x.nrows() {
        bail!(Shape, "expected {} rows on the right, found shape {:?}", m.nrows(), b.dims());
    }
    invertible(&m, a)?.solve_in_place(x.as_mut());
    gradient::of_solve(a, b, shaped(x.as_ref(), b.dims(), a)?, m, x)
}

/// Calls `one` with a matrix and its right side, or with each of a batch and its own.
fn each_pair(a: &Tensor, b: &Tensor, one: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let &[ref batch @ .., rows, columns] = a.dims() else { return one(a, b) };
    if batch.is_empty() {
        return one(a, b);
    }
    let right = b.dims().get(batch.len()..).unwrap_or_default();
    if b.dims().get(..batch.len()) != Some(batch) || right.is_empty() {
        bail!(Shape, "expected a right side for each matrix of the batch {batch:?}, found shape {:?}", b.dims());
    }
    let count: usize = batch.iter().product();
    let a = backward::reshaped(a, &[count, rows, columns])?;
    let b = backward::reshaped(b, &[&[count], right].concat())?;
    let of = |t: &Tensor, i: i64| index::get(t, &[AxisIndex::At(i)]);
    joined(batch, |i| Ok([one(&of(&a, i)?, &of(&b, i)?)?])).map(|[x]| x)
}

/// Computes the inverse of a square matrix.
pub fn inverse(a: &Tensor) -> Result<Tensor> {
    over_batch(a, |a| Ok([one_inverse(a)?])).map(|[inverse]| inverse)
}

fn one_inverse(a: &Tensor) -> Result<Tensor> {
    let m = square(a)?;
    let mut x = Mat::identity(m.nrows(), m.nrows());
    invertible(&m, a)?.solve_in_place(x.as_mut());
    gradient::of_inverse(a, tensor(x.as_ref(), a)?, x)
}

/// Computes the LU decomposition, refused if a pivot is not above rounding error.
fn invertible(m: &Mat<f64>, a: &Tensor) -> Result<PartialPivLu<f64>> {
    let lu = PartialPivLu::new(m.as_ref());
    let pivots: Vec<f64> = (0..m.nrows()).map(|i| lu.U()[(i, i)].abs()).collect();
    let most = pivots.iter().copied().fold(0.0, f64::max);
    if pivots.iter().any(|p| *p <= f64::EPSILON * m.nrows() as f64 * most) {
        return Err(err!(
            Numeric,
            "expected a matrix that can be inverted, found a singular one of shape {:?}",
            a.dims()
        )
        .hint("`lstsq` and `pinv` also take singular matrices"));
    }
    Ok(lu)
}

/// Computes the determinant of a square matrix, in f64.
pub fn det(a: &Tensor) -> Result<Tensor> {
    over_batch(a, |a| Ok([one_det(a)?])).map(|[det]| det)
}

fn one_det(a: &Tensor) -> Result<Tensor> {
    let m = square(a)?;
    let det = if m.nrows() == 0 { 1.0 } else { m.determinant() };
    gradient::of_det(a, element::tensor(vec![det], &[], DType::F64, a.device())?, m)
}

/// Solves least squares: the x that minimises |a x - b|, and of several the one with the smallest norm.
pub fn lstsq(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    each_pair(a, b, one_lstsq)
}

fn one_lstsq(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let m = matrix(a)?;
    let right = columns(b)?;
    if m.nrows() != right.nrows() {
        bail!(Shape, "expected {} rows on the right, found shape {:?}", m.nrows(), b.dims());
    }
    if a.track_op() || b.track_op() {
        return matmul(&pinv(a, None)?, b);
    }
    let x = pseudo(&m, cutoff(a, None)?)? * right;
    let mut dims = vec![x.nrows()];
    dims.extend((b.rank() == 2).then_some(x.ncols()));
    shaped(x.as_ref(), &dims, a)
}

/// Computes the Moore-Penrose inverse. Singular values up to `rcond` times the largest count as 0; by default it is the
/// larger side times the rounding error of the dtype.
pub fn pinv(a: &Tensor, rcond: Option<f64>) -> Result<Tensor> {
    let one = |a: &Tensor| {
        let m = matrix(a)?;
        let p = pseudo(&m, cutoff(a, rcond)?)?;
        Ok([gradient::of_pinv(a, tensor(p.as_ref(), a)?, m, p)?])
    };
    over_batch(a, one).map(|[inverse]| inverse)
}

fn pseudo(m: &Mat<f64>, cutoff: f64) -> Result<Mat<f64>> {
    let SvdMatrices { u, s, v } = singular(m.as_ref())?;
    let least = cutoff * s.first().copied().unwrap_or_default();
    let scaled = Mat::from_fn(v.nrows(), s.len(), |i, k| if s[k] > least { v[(i, k)] / s[k] } else { 0.0 });
    Ok(scaled * u.transpose())
}

/// Counts the singular values above `rcond` times the largest.
pub fn rank(a: &Tensor, rcond: Option<f64>) -> Result<usize> {
    let s = singular(matrix(a)?.as_ref())?.s;
    let least = cutoff(a, rcond)? * s.first().copied().unwrap_or_default();
    Ok(s.iter().filter(|s| **s > least).count())
}

fn cutoff(a: &Tensor, rcond: Option<f64>) -> Result<f64> {
    match rcond {
        None => Ok(precision(a) * a.dims().iter().copied().max().unwrap_or_default() as f64),
        Some(given) if (0.0..1.0).contains(&given) => Ok(given),
        Some(given) => bail!(Argument, "expected an rcond from 0 to 1, found {given}"),
    }
}
