//! Reshaping, reordering, splitting and repeating.

use super::{growing, on, view};
use crate::script::engine::value::Ints;
use crate::script::prelude::*;
use crate::tensor::{shape as core, steps};

methods! { views by view:
    /// Reorders the axes.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3, 4]).permute([2, 0, 1]).shape  //=> [4, 2, 3]
    /// ```
    permute(order: Array) => move |t| core::permute(t, &order);
    /// Swaps two axes, by default the last two.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).transpose(0, 1)  //=> tensor([[1.0, 3.0], [2.0, 4.0]])
    /// ```
    transpose(first: Int, second: Int) => move |t| core::transpose(t, first, second);
    transpose_last as "transpose" () => |t| core::transpose(t, -2, -1);
    /// Removes axes of size 1: all of them, or those given.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([1, 3, 1]).squeeze(0).shape  //=> [3, 1]
    /// tensor::zeros([1, 3, 1]).squeeze().shape  //=> [3]
    /// ```
    squeeze() => |t| core::squeeze(t, None);
    squeeze_axes as "squeeze" (axes: Ints) => move |t| core::squeeze(t, Some(&axes));
    /// Adds an axis of size 1 before `axis`; -1 adds it at the end.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).unsqueeze(1)  //=> tensor([[1.0], [2.0]])
    /// ```
    unsqueeze(axis: Int) => move |t| core::unsqueeze(t, axis);
    /// Broadcasts to a shape without a copy: axes of size 1 are expanded, and new axes are added in front; -1 keeps a size.
    ///
    /// # Example
    /// ```
    /// tensor([[1], [2]]).expand([-1, 3])  //=> tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    /// ```
    expand(shape: Array) => move |t| core::expand(t, &shape);
}

methods! { copies by on:
    /// Returns the elements in another shape; one size may be -1 and is inferred.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3, 4]).reshape([2, -1])  //=> tensor([[1.0, 2.0], [3.0, 4.0]])
    /// ```
    reshape(shape: Ints) => move |t| core::reshape(t, &shape);
    /// Flattens all axes, or those from `first` to `last`.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3, 4]).flatten(1, -1).shape  //=> [2, 12]
    /// tensor([[1, 2], [3, 4]]).flatten()  //=> tensor([1.0, 2.0, 3.0, 4.0])
    /// ```
    flatten() => |t| core::flatten(t, 0, -1);
    flatten_axes as "flatten" (first: Int, last: Int) => move |t| core::flatten(t, first, last);
    /// Rolls the entries along an axis; those beyond the end come back at the start.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3]).roll(1, 0)  //=> tensor([3.0, 1.0, 2.0])
    /// ```
    roll(by: Int, axis: Int) => move |t| core::roll(t, by, axis);
    /// Reverses the order of entries along all axes, or those given.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).flip(1)  //=> tensor([[2.0, 1.0], [4.0, 3.0]])
    /// ```
    flip() => |t| core::flip(t, None);
    flip_axes as "flip" (axes: Ints) => move |t| core::flip(t, Some(&axes));
    /// Returns the lower triangle of the last two axes, the diagonal included, with 0 above; `diagonal` shifts it to
    /// the right, or to the left if negative.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).tril()  //=> tensor([[1.0, 0.0], [3.0, 4.0]])
    /// tensor([[1, 2], [3, 4]]).tril(-1)  //=> tensor([[0.0, 0.0], [3.0, 0.0]])
    /// ```
    tril() => |t| core::tril(t, 0);
    tril_from as "tril" (diagonal: Int) => move |t| core::tril(t, diagonal);
    /// Returns the upper triangle of the last two axes, the diagonal included, with 0 below; `diagonal` shifts it to
    /// the right, or to the left if negative.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).triu()  //=> tensor([[1.0, 2.0], [0.0, 4.0]])
    /// tensor([[1, 2], [3, 4]]).triu(1)  //=> tensor([[0.0, 2.0], [0.0, 0.0]])
    /// ```
    triu() => |t| core::triu(t, 0);
    triu_from as "triu" (diagonal: Int) => move |t| core::triu(t, diagonal);
}

#[export_module(manifest)]
pub mod methods {
    /// Repeats the tensor along each axis; more counts than axes add axes in front.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).repeat(2)  //=> tensor([1.0, 2.0, 1.0, 2.0])
    /// tensor([1, 2]).repeat([2, 1])  //=> tensor([[1.0, 2.0], [1.0, 2.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn repeat(ctx: NativeCallContext, t: &mut Tensor, counts: Ints) -> Fallible<Tensor> {
        let counts = given("counts", &counts).integers()?;
        let times = counts.iter().fold(1_usize, |times, count| times.saturating_mul(count.unsigned_abs() as usize));
        growing(&ctx, t, steps(t).saturating_mul(times), move |t| core::repeat(t, &counts))
    }

    /// Returns the diagonal of a matrix; `diagonal` shifts it to the right, or to the left if negative.
    ///
    /// A vector has none and is refused: the matrix with a vector as its diagonal is `t.diag_embed()`.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).diag()  //=> tensor([1.0, 4.0])
    /// tensor([[1, 2], [3, 4]]).diag(1)  //=> tensor([2.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn diag(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        diag_from(ctx, t, 0_i64.into())
    }

    #[rhai_fn(global, name = "diag", pure, return_raw)]
    pub fn diag_from(ctx: NativeCallContext, t: &mut Tensor, diagonal: Int) -> Fallible<Tensor> {
        let diagonal = given("diagonal", &diagonal).integer()?;
        growing(&ctx, t, 0, move |t| core::diag(t, diagonal))
    }

    /// Returns the matrix with a vector as its diagonal, and 0 elsewhere; `diagonal` shifts it to the right, or to the
    /// left if negative.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).diag_embed()  //=> tensor([[1.0, 0.0], [0.0, 2.0]])
    /// tensor([3]).diag_embed(1)  //=> tensor([[0.0, 3.0], [0.0, 0.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn diag_embed(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        diag_embed_from(ctx, t, 0_i64.into())
    }

    #[rhai_fn(global, name = "diag_embed", pure, return_raw)]
    pub fn diag_embed_from(ctx: NativeCallContext, t: &mut Tensor, diagonal: Int) -> Fallible<Tensor> {
        let diagonal = given("diagonal", &diagonal).integer()?;
        let side = steps(t).saturating_add(diagonal.unsigned_abs() as usize);
        growing(&ctx, t, side.saturating_mul(side), move |t| core::diag_embed(t, diagonal))
    }

    /// Splits along an axis, by default 0: into pieces of one size, or of the sizes in an array.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3]).split(2)  //=> [tensor([1.0, 2.0]), tensor([3.0])]
    /// tensor([[1, 2, 3]]).split([1, 2], 1)  //=> [tensor([[1.0]]), tensor([[2.0, 3.0]])]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn split(t: &mut Tensor, sizes: Ints) -> Fallible<Array> {
        split_along(t, sizes, 0_i64.into())
    }

    #[rhai_fn(global, name = "split", pure, return_raw)]
    pub fn split_along(t: &mut Tensor, sizes: Ints, axis: Int) -> Fallible<Array> {
        let axis = given("axis", &axis).integer()?;
        let pieces = if sizes.is_array() {
            given("sizes", &sizes).integers()?
        } else {
            core::even_sizes(t, given("sizes", &sizes).integer()?, axis)?
        };
        Ok(core::split(t, &pieces, axis)?.into_iter().map(Dynamic::from).collect())
    }
}
