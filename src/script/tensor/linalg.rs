//! Linear algebra on matrices; axes before the last two are a batch of them.

use super::heavy;
use crate::script::prelude::*;
use crate::tensor::linalg;
use crate::tensor::linalg::RcondOptions;

/// Runs work on a matrix, whose cost is a multiple of rows times columns times the smaller of the two.
fn solved<T: Send + 'static>(
    ctx: &NativeCallContext,
    a: &Tensor,
    work: impl FnOnce(&Tensor) -> Result<T> + Send + 'static,
) -> Fallible<T> {
    let a = a.clone();
    let side = a.dims().iter().copied().min().unwrap_or(1);
    heavy(ctx, crate::tensor::steps(&a).saturating_mul(side).saturating_mul(4), move || work(&a))
}

fn named<const N: usize>(parts: [(&str, Tensor); N]) -> Map {
    parts.into_iter().map(|(name, part)| (name.into(), Dynamic::from(part))).collect()
}

#[export_module(manifest)]
pub mod functions {
    /// Solves a @ x = b for a square matrix `a` and a vector `b`, or the columns of a matrix `b`.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// tensor::solve(tensor([[2, 0], [0, 4]]), tensor([2, 8]))  //=> tensor([1.0, 2.0])
    /// ```
    #[rhai_fn(return_raw)]
    pub fn solve(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        super::solved(&ctx, &a, move |a| linalg::solve(a, &b))
    }

    /// Solves least squares: returns the x that minimises |a @ x - b|, and of several the one with the smallest norm.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// let x = tensor::lstsq(tensor([[1, 1], [1, 2], [1, 3]]), tensor([3, 5, 7]));
    /// x.all_close(tensor([1, 2]))  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn lstsq(ctx: NativeCallContext, a: Tensor, b: Tensor) -> Fallible<Tensor> {
        super::solved(&ctx, &a, move |a| linalg::lstsq(a, &b))
    }
}

methods! { matrices by solved:
    /// Computes the Cholesky decomposition of a symmetric positive definite matrix: the lower triangular matrix l with
    /// `a = l @ l.transpose(0, 1)`.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// tensor([[4, 0], [0, 9]]).cholesky()  //=> tensor([[2.0, 0.0], [0.0, 3.0]])
    /// ```
    cholesky() => linalg::cholesky;
    /// Computes the inverse of a square matrix; a singular one is an error.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// tensor([[2, 0], [0, 4]]).inverse()  //=> tensor([[0.5, 0.0], [0.0, 0.25]])
    /// tensor::ones([3, 1, 1]).inverse().shape  //=> [3, 1, 1]
    /// ```
    inverse() => linalg::inverse;
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the thin singular value decomposition: `a = u @ diag(s) @ vt`.
    ///
    /// Axes before the last two are a batch of matrices. Singular values are in descending order, and in each column of `u` the entry of largest magnitude is positive.
    ///
    /// # Example
    /// ```
    /// let d = tensor([[3, 0], [0, -4]]).svd();
    /// d.s  //=> tensor([4.0, 3.0])
    /// (d.u @ d.s.diag_embed() @ d.vt).all_close(tensor([[3, 0], [0, -4]]))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn svd(ctx: NativeCallContext, a: &mut Tensor) -> Fallible<Map> {
        let linalg::SvdTensors { u, s, vt } = super::solved(&ctx, a, linalg::svd)?;
        Ok(super::named([("u", u), ("s", s), ("vt", vt)]))
    }

    /// Computes the QR decomposition: `q` with orthonormal columns, `r` upper triangular with a nonnegative diagonal.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// tensor([[0, 2], [-3, 0]]).qr().r.abs()  //=> tensor([[3.0, 0.0], [0.0, 2.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn qr(ctx: NativeCallContext, a: &mut Tensor) -> Fallible<Map> {
        let (q, r) = super::solved(&ctx, a, linalg::qr)?;
        Ok(super::named([("q", q), ("r", r)]))
    }

    /// Computes the eigenvalues of a symmetric matrix in ascending order as `values`, and its eigenvectors as the
    /// columns of `vectors`.
    ///
    /// Axes before the last two are a batch of matrices. In each eigenvector the entry of largest magnitude is positive.
    ///
    /// # Example
    /// ```
    /// tensor([[2, 0], [0, 1]]).eigh().values  //=> tensor([1.0, 2.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn eigh(ctx: NativeCallContext, a: &mut Tensor) -> Fallible<Map> {
        let (values, vectors) = super::solved(&ctx, a, linalg::eigh)?;
        Ok(super::named([("values", values), ("vectors", vectors)]))
    }

    /// Computes the Moore-Penrose pseudoinverse.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Options
    /// - [rcond]
    ///
    /// # Example
    /// ```
    /// tensor([[2, 0], [0, 0]]).pinv()  //=> tensor([[0.5, 0.0], [0.0, 0.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn pinv(ctx: NativeCallContext, a: &mut Tensor, options: Options) -> Fallible<Tensor> {
        let RcondOptions { rcond } = taken(options)?;
        super::solved(&ctx, a, move |a| linalg::pinv(a, rcond))
    }

    /// Computes the determinant of a square matrix.
    ///
    /// Axes before the last two are a batch of matrices.
    ///
    /// # Example
    /// ```
    /// tensor([[2, 0], [0, 4]]).det()  //=> 8.0
    /// tensor([[[2, 0], [0, 4]], [[1, 0], [0, 1]]]).det()  //=> tensor([8.0, 1.0], f64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn det(ctx: NativeCallContext, a: &mut Tensor) -> Fallible<Dynamic> {
        Ok(super::super::value_of(super::solved(&ctx, a, linalg::det)?)?)
    }

    /// Computes the rank of a matrix: the number of its singular values above `rcond` times the largest.
    ///
    /// # Options
    /// - [rcond]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [2, 4]]).matrix_rank()  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn matrix_rank(ctx: NativeCallContext, a: &mut Tensor, options: Options) -> Fallible<i64> {
        let RcondOptions { rcond } = taken(options)?;
        super::solved(&ctx, a, move |a| Ok(linalg::rank(a, rcond)? as i64))
    }
}
