//! Decompositions: singular values, QR, eigenvalues of symmetric matrices, Cholesky.

use candle_core::Tensor;
use faer::linalg::solvers::Llt;
use faer::{Mat, MatRef, Side};

use super::{SvdMatrices, eigen, gradient, matrix, over_batch, precision, shaped, singular, square, tensor};
use crate::common::*;

/// A singular value decomposition, a = U diag(s) Vt.
#[derive(Debug, Clone)]
pub struct SvdTensors {
    pub u: Tensor,
    pub s: Tensor,
    pub vt: Tensor,
}

/// Computes the thin singular value decomposition, a = U diag(s) Vt, with s in descending order. In each column of U
/// the entry of largest magnitude is positive.
pub fn svd(a: &Tensor) -> Result<SvdTensors> {
    over_batch(a, one_svd).map(|[u, s, vt]| SvdTensors { u, s, vt })
}

fn one_svd(a: &Tensor) -> Result<[Tensor; 3]> {
    let SvdMatrices { mut u, s, mut v } = singular(matrix(a)?.as_ref())?;
    for k in 0..s.len() {
        if largest_is_negative(u.as_ref(), k) {
            negate(&mut u, k);
            negate(&mut v, k);
        }
    }
    let column = Mat::from_fn(s.len(), 1, |i, _| s[i]);
    let found = [tensor(u.as_ref(), a)?, shaped(column.as_ref(), &[s.len()], a)?, tensor(v.transpose(), a)?];
    gradient::of_svd(a, found, &u, &s, &v)
}

/// Computes Q with orthonormal columns and R, upper triangular with a nonnegative diagonal, so that a = Q R.
pub fn qr(a: &Tensor) -> Result<(Tensor, Tensor)> {
    over_batch(a, one_qr).map(|[q, r]| (q, r))
}

fn one_qr(a: &Tensor) -> Result<[Tensor; 2]> {
    let m = matrix(a)?;
    let qr = m.qr();
    let mut q = qr.compute_thin_Q();
    let mut r = qr.thin_R().to_owned();
    for i in 0..r.nrows() {
        for j in 0..i.min(r.ncols()) {
            r[(i, j)] = 0.0;
        }
        if r[(i, i)] < 0.0 {
            negate(&mut q, i);
            for j in i..r.ncols() {
                r[(i, j)] = -r[(i, j)];
            }
        }
    }
    gradient::of_qr(a, [tensor(q.as_ref(), a)?, tensor(r.as_ref(), a)?], &q, &r)
}

/// Computes the eigenvalues of a symmetric matrix in ascending order, and the eigenvectors as columns; in each the
/// entry of largest magnitude is positive.
pub fn eigh(a: &Tensor) -> Result<(Tensor, Tensor)> {
    over_batch(a, one_eigh).map(|[values, vectors]| (values, vectors))
}

fn one_eigh(a: &Tensor) -> Result<[Tensor; 2]> {
    let m = symmetric(a)?;
    let size = m.nrows();
    if size == 0 {
        return Ok([shaped(Mat::zeros(0, 1).as_ref(), &[0], a)?, tensor(m.as_ref(), a)?]);
    }
    let (values, mut vectors) = eigen(m.as_ref())?;
    for k in 0..size {
        if largest_is_negative(vectors.as_ref(), k) {
            negate(&mut vectors, k);
        }
    }
    let column = Mat::from_fn(size, 1, |i, _| values[i]);
    gradient::of_eigh(a, [shaped(column.as_ref(), &[size], a)?, tensor(vectors.as_ref(), a)?], &values, &vectors)
}

/// Computes L, lower triangular with positive diagonal, so that a = L Lt; for symmetric matrices that are positive
/// definite.
pub fn cholesky(a: &Tensor) -> Result<Tensor> {
    over_batch(a, |a| Ok([one_cholesky(a)?])).map(|[l]| l)
}

fn one_cholesky(a: &Tensor) -> Result<Tensor> {
    let m = symmetric(a)?;
    if m.nrows() == 0 {
        return tensor(m.as_ref(), a);
    }
    let llt = Llt::new(m.as_ref(), Side::Lower).map_err(|_| {
        err!(Numeric, "expected a positive definite matrix")
            .hint("its smallest eigenvalue, `a.eigh()`, shows how far off it is")
    })?;
    let l = llt.L();
    let l = Mat::from_fn(l.nrows(), l.ncols(), |i, j| if i < j { 0.0 } else { l[(i, j)] });
    gradient::of_cholesky(a, tensor(l.as_ref(), a)?, &l)
}

fn symmetric(a: &Tensor) -> Result<Mat<f64>> {
    let m = square(a)?;
    let size = |i: usize, j: usize| m[(i, j)].abs();
    let most =
        (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| (i, j))).map(|(i, j)| size(i, j)).fold(0.0, f64::max);
    let allowed = 100.0 * precision(a) * most;
    for i in 0..m.nrows() {
        for j in 0..i {
            let below = m[(i, j)];
            let above = m[(j, i)];
            if (below - above).abs() > allowed {
                return Err(err!(
                    Numeric,
                    "expected a symmetric matrix, found {below} at [{i}, {j}] and {above} at [{j}, {i}]"
                )
                .hint("`(a + a.transpose(0, 1)) / 2` is its symmetric part"));
            }
        }
    }
    Ok(m)
}

/// Returns whether the entry of column `k` of largest magnitude is negative. Entries that are equal up to rounding
/// count as equal, and then the first decides.
fn largest_is_negative(m: MatRef<'_, f64>, k: usize) -> bool {
    let most = (0..m.nrows()).map(|i| m[(i, k)].abs()).fold(0.0, f64::max);
    (0..m.nrows()).map(|i| m[(i, k)]).find(|x| x.abs() >= most * (1.0 - 1e-9)).is_some_and(|x| x < 0.0)
}

fn negate(m: &mut Mat<f64>, column: usize) {
    for i in 0..m.nrows() {
        m[(i, column)] = -m[(i, column)];
    }
}
