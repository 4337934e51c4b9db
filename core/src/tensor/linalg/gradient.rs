//! The gradients of linear algebra, for one matrix each.
//!
//! G is the gradient of a result, and the formulas give that of the argument A; where several results come of one
//! decomposition, each contributes its own. They are those of Giles (2008) for inverses, systems and determinants, of
//! Seeger et al. (2017) for QR, Cholesky and eigenvectors, of Townsend (2016) for singular vectors, of Roberts and Roberts
//! (2020) for the QR of a wide matrix, and of Golub and Pereyra (1973) for the pseudoinverse.

use candle_core::Tensor;
use faer::linalg::solvers::{PartialPivLu, Solve};
use faer::{Mat, MatRef};

use super::{SvdMatrices, columns, matrix, shaped, singular, tensor};
use crate::common::*;
use crate::tensor::backward::{like, with_gradient};

type M = Mat<f64>;

/// Returns a result of one matrix, whose gradient is turned into that of the matrix by `back`.
fn noted(
    name: &'static str,
    a: &Tensor,
    result: Tensor,
    back: impl Fn(M) -> Result<M> + Send + Sync + 'static,
) -> Result<Tensor> {
    let constant = a.detach();
    with_gradient(name, result, &[a], move |_, gradient| {
        let found = back(if gradient.rank() == 2 { matrix(gradient)? } else { columns(&gradient.flatten_all()?)? })?;
        Ok(vec![Some(like(&tensor(found.as_ref(), &constant)?, &constant)?)])
    })
}

fn eye(size: usize) -> M {
    Mat::identity(size, size)
}

fn scaled(m: &M, by: impl Fn(usize, usize) -> f64) -> M {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] * by(i, j))
}

fn symmetric_part(m: &M) -> M {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| (m[(i, j)] + m[(j, i)]) / 2.0)
}

/// Returns the lower triangle, and its mirror image above.
fn mirrored(m: &M) -> M {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i.max(j), i.min(j))])
}

/// Solves m^T x = right.
fn transposed_solution(m: MatRef<'_, f64>, right: &M) -> M {
    let mut x = right.clone();
    PartialPivLu::new(m.transpose()).solve_in_place(x.as_mut());
    x
}

/// Computes 1 / (x_j - x_i) away from the diagonal; equal ones leave the vectors undetermined, and are refused.
fn gaps(x: &[f64], what: &str) -> Result<M> {
    let most = x.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for i in 0..x.len() {
        if x[..i].iter().any(|other| (other - x[i]).abs() <= 8.0 * f64::EPSILON * most) {
            return Err(err!(Numeric, "the vectors of equal {what} have no gradient").hint(format!(
                "any rotation of them is as good; the {what} themselves have gradients, and so has what is made of both"
            )));
        }
    }
    Ok(Mat::from_fn(x.len(), x.len(), |i, j| if i == j { 0.0 } else { 1.0 / (x[j] - x[i]) }))
}

/// Returns the results of A = U diag(s) V^T with their gradients: from s, U diag(G) V^T; from U and V by the gaps
/// between squares.
pub fn of_svd(a: &Tensor, [u, s, vt]: [Tensor; 3], left: &M, sizes: &[f64], right: &M) -> Result<[Tensor; 3]> {
    if !a.track_op() {
        return Ok([u, s, vt]);
    }
    let left = left.clone();
    let right = right.clone();
    let sizes = sizes.to_vec();
    let l = left.clone();
    let r = right.clone();
    let s = noted("svd", a, s, move |g| Ok(scaled(&l, |_, j| g[(j, 0)]) * r.transpose()))?;
    let l = left.clone();
    let r = right.clone();
    let x = sizes.clone();
    let u = noted("svd", a, u, move |g| Ok(by_side(&l, &x, &g)? * r.transpose()))?;
    let vt = noted("svd", a, vt, move |g| Ok(&left * by_side(&right, &sizes, &g.transpose().to_owned())?.transpose()))?;
    Ok([u, s, vt])
}

/// Computes U (F o (U^T G - G^T U)) S + (1 - U U^T) G / S for the vectors of one side, with F_ij = 1 / (s_j^2 - s_i^2).
fn by_side(u: &M, sizes: &[f64], g: &M) -> Result<M> {
    let squares: Vec<f64> = sizes.iter().map(|s| s * s).collect();
    let f = gaps(&squares, "singular values")?;
    let inner = u.transpose() * g;
    let turned = Mat::from_fn(inner.nrows(), inner.ncols(), |i, j| f[(i, j)] * (inner[(i, j)] - inner[(j, i)]));
    let within = scaled(&(u * turned), |_, j| sizes[j]);
    if u.nrows() == u.ncols() {
        return Ok(within);
    }
    if sizes.contains(&0.0) {
        return Err(err!(Numeric, "the vectors of singular values of 0 have no gradient"));
    }
    Ok(within + scaled(&(g - u * inner), |_, j| 1.0 / sizes[j]))
}

/// Returns the results of A = Q R with their gradient (G_Q + Q mirrored(R G_R^T - G_Q^T Q)) R^-T; of a wide matrix this
/// for the square part on its left.
pub fn of_qr(a: &Tensor, [q, r]: [Tensor; 2], orthogonal: &M, upper: &M) -> Result<[Tensor; 2]> {
    if !a.track_op() {
        return Ok([q, r]);
    }
    let m = matrix(a)?;
    let rows = m.nrows();
    let side = m.nrows().min(m.ncols());
    let left = upper.subcols(0, side).to_owned();
    let right = m.subcols(side, m.ncols() - side).to_owned();
    let basis = orthogonal.clone();
    let square = move |for_q: &M, for_r: &M| -> Result<M> {
        if (0..side).any(|i| left[(i, i)] == 0.0) {
            return Err(err!(Numeric, "the QR decomposition of a matrix of lower rank has no gradient"));
        }
        let inner = mirrored(&(&left * for_r.transpose() - for_q.transpose() * &basis));
        let found = for_q + &basis * inner;
        // x R^-T is the transposed solution of R x^T.
        let mut x = found.transpose().to_owned();
        PartialPivLu::new(left.as_ref()).solve_in_place(x.as_mut());
        Ok(x.transpose().to_owned())
    };
    let rest = right.ncols();
    let beside = move |part: M, other: &M| {
        Mat::from_fn(rows, side + rest, |i, j| if j < side { part[(i, j)] } else { other[(i, j - side)] })
    };
    let for_q = square.clone();
    let put = beside;
    let q = noted("qr", a, q, move |g| Ok(put(for_q(&g, &Mat::zeros(side, side))?, &Mat::zeros(rows, rest))))?;
    let basis = orthogonal.clone();
    let r = noted("qr", a, r, move |g| {
        let g_left = g.subcols(0, side).to_owned();
        let g_right = g.subcols(side, rest).to_owned();
        Ok(beside(square(&(&right * g_right.transpose()), &g_left)?, &(&basis * g_right)))
    })?;
    Ok([q, r])
}

/// Returns the results of A = V diag(x) V^T with their gradient V (diag(G_x) + F o (V^T G_V)) V^T, with
/// F_ij = 1 / (x_j - x_i).
pub fn of_eigh(a: &Tensor, [values, vectors]: [Tensor; 2], x: &[f64], v: &M) -> Result<[Tensor; 2]> {
    if !a.track_op() {
        return Ok([values, vectors]);
    }
    let basis = v.clone();
    let values = noted("eigh", a, values, move |g| Ok(scaled(&basis, |_, j| g[(j, 0)]) * basis.transpose()))?;
    let basis = v.clone();
    let x = x.to_vec();
    let vectors = noted("eigh", a, vectors, move |g| {
        let f = gaps(&x, "eigenvalues")?;
        let inner = scaled(&(basis.transpose() * g), |i, j| f[(i, j)]);
        Ok(symmetric_part(&(&basis * inner * basis.transpose())))
    })?;
    Ok([values, vectors])
}

/// Returns the result of A = L L^T with its gradient L^-T P L^-1, with P the lower triangle of L^T G and half its
/// diagonal.
pub fn of_cholesky(a: &Tensor, result: Tensor, l: &M) -> Result<Tensor> {
    let l = l.clone();
    noted("cholesky", a, result, move |g| {
        let inner = l.transpose() * g;
        let half = |i: usize, j: usize| if i == j { 0.5 } else { f64::from(u8::from(i > j)) };
        let from_left = transposed_solution(l.as_ref(), &scaled(&inner, half));
        let both = transposed_solution(l.as_ref(), &from_left.transpose().to_owned());
        Ok(symmetric_part(&both))
    })
}

/// Returns the result of A x = b with its gradients: A^-T G for b, and minus that times x^T for A.
pub fn of_solve(a: &Tensor, b: &Tensor, result: Tensor, m: M, x: M) -> Result<Tensor> {
    let asked = [a.track_op(), b.track_op()];
    let constant_a = a.detach();
    let constant_b = b.detach();
    with_gradient("solve", result, &[a, b], move |_, gradient| {
        let for_b = transposed_solution(m.as_ref(), &columns(gradient)?);
        let for_a = || like(&tensor((&for_b * x.transpose() * -1.0_f64).as_ref(), &constant_a)?, &constant_a);
        let whole = || like(&shaped(for_b.as_ref(), constant_b.dims(), &constant_b)?, &constant_b);
        Ok(vec![asked[0].then(for_a).transpose()?, asked[1].then(whole).transpose()?])
    })
}

/// Returns the result of X = A^-1 with its gradient -X^T G X^T.
pub fn of_inverse(a: &Tensor, result: Tensor, x: M) -> Result<Tensor> {
    noted("inverse", a, result, move |g| Ok(x.transpose() * g * x.transpose() * -1.0_f64))
}

/// Returns the determinant with its gradient: G times the matrix of cofactors, which is U diag(the products of the
/// other s) V^T times the sign of det(U V), so that singular matrices have it, too.
pub fn of_det(a: &Tensor, result: Tensor, m: M) -> Result<Tensor> {
    noted("det", a, result, move |g| {
        let SvdMatrices { u, s, v } = singular(m.as_ref())?;
        let sign = if s.is_empty() { 1.0 } else { u.determinant().signum() * v.determinant().signum() };
        let others = |k: usize| s.iter().enumerate().filter(|(i, _)| *i != k).map(|(_, s)| s).product::<f64>();
        Ok(scaled(&u, |_, k| others(k) * sign * g[(0, 0)]) * v.transpose())
    })
}

/// Returns the result of P = A^+ with its gradient, where the rank does not change: -P^T G P^T + (1 - A P) G^T P P^T +
/// P^T P G^T (1 - P A).
pub fn of_pinv(a: &Tensor, result: Tensor, m: M, p: M) -> Result<Tensor> {
    noted("pinv", a, result, move |g| {
        let rows = m.nrows();
        let columns = m.ncols();
        let inner = p.transpose() * &g * p.transpose() * -1.0_f64;
        let outside = (eye(rows) - &m * &p) * g.transpose() * (&p * p.transpose());
        let beyond = (p.transpose() * &p) * g.transpose() * (eye(columns) - &p * &m);
        Ok(inner + outside + beyond)
    })
}
