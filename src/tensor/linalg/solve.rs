//! Systems of equations, inverses, determinants and rank.

use candle_core::Tensor;
use faer::Mat;
use faer::linalg::solvers::{PartialPivLu, Solve};

use super::{columns, decompose, matrix, precision, shaped, square, tensor};
use crate::base::Result;
use crate::{bail, err};

crate::options! {
    #[derive(Debug, Clone)]
    pub struct RcondOptions {
        /// Singular values up to this part of the largest count as 0.
        rcond: Option<f64> = None => usually("the larger side times the rounding error of the dtype").at_least(0.0);
    }
}

/// Solves a x = b for a square matrix a and a vector or the columns of a matrix b.
pub fn solve(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (m, mut x) = (square(a)?, columns(b)?);
    if m.nrows() != x.nrows() {
        bail!(Shape, "expected {} rows on the right, found shape {:?}", m.nrows(), b.dims());
    }
    invertible(&m, a)?.solve_in_place(x.as_mut());
    shaped(x.as_ref(), b.dims(), a)
}

/// The inverse of a square matrix.
pub fn inverse(a: &Tensor) -> Result<Tensor> {
    let m = square(a)?;
    let mut x = Mat::identity(m.nrows(), m.nrows());
    invertible(&m, a)?.solve_in_place(x.as_mut());
    tensor(x.as_ref(), a)
}

/// The LU decomposition, refused if a pivot is not above rounding error.
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

/// The determinant of a square matrix.
pub fn det(a: &Tensor) -> Result<f64> {
    let m = square(a)?;
    Ok(if m.nrows() == 0 { 1.0 } else { m.determinant() })
}

/// Least squares: the x that minimises |a x - b|, and of several the one with the smallest norm.
pub fn lstsq(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (m, right) = (matrix(a)?, columns(b)?);
    if m.nrows() != right.nrows() {
        bail!(Shape, "expected {} rows on the right, found shape {:?}", m.nrows(), b.dims());
    }
    let x = pseudo(&m, cutoff(a, None)?)? * right;
    let mut dims = vec![x.nrows()];
    dims.extend((b.rank() == 2).then_some(x.ncols()));
    shaped(x.as_ref(), &dims, a)
}

/// The Moore-Penrose inverse. Singular values up to `rcond` times the largest count as 0; by default it is the
/// larger side times the rounding error of the dtype.
pub fn pinv(a: &Tensor, rcond: Option<f64>) -> Result<Tensor> {
    tensor(pseudo(&matrix(a)?, cutoff(a, rcond)?)?.as_ref(), a)
}

fn pseudo(m: &Mat<f64>, cutoff: f64) -> Result<Mat<f64>> {
    let (u, s, v) = decompose::parts(m)?;
    let least = cutoff * s.first().copied().unwrap_or_default();
    let scaled = Mat::from_fn(v.nrows(), s.len(), |i, k| if s[k] > least { v[(i, k)] / s[k] } else { 0.0 });
    Ok(scaled * u.transpose())
}

/// The number of singular values above `rcond` times the largest.
pub fn rank(a: &Tensor, rcond: Option<f64>) -> Result<usize> {
    let (_, s, _) = decompose::parts(&matrix(a)?)?;
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
