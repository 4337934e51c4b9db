//! Another shape, another order, pieces and repetitions.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::super::value::{Fallible, Int, Ints, given};
use super::on;
use crate::tensor::{Tensor, shape as core};

#[export_module(manifest)]
pub mod methods {
    /// The same elements in another shape; one size may be -1 and is worked out.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3, 4]).reshape([2, -1])  //=> tensor([[1.0, 2.0], [3.0, 4.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn reshape(ctx: NativeCallContext, t: &mut Tensor, shape: Ints) -> Fallible<Tensor> {
        let sizes = given("shape", &shape).integers()?;
        on(&ctx, t, move |t| core::reshape(t, &sizes))
    }

    /// The axes in another order.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3, 4]).permute([2, 0, 1]).shape  //=> [4, 2, 3]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn permute(t: &mut Tensor, order: Array) -> Fallible<Tensor> {
        Ok(core::permute(t, &given("order", &order.into()).integers()?)?)
    }

    /// Two axes exchanged, the last two without any stated.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).transpose(0, 1)  //=> tensor([[1.0, 3.0], [2.0, 4.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn transpose(t: &mut Tensor, first: Int, second: Int) -> Fallible<Tensor> {
        Ok(core::transpose(t, given("first", &first).integer()?, given("second", &second).integer()?)?)
    }

    #[rhai_fn(global, name = "transpose", pure, return_raw)]
    pub fn transpose_last(t: &mut Tensor) -> Fallible<Tensor> {
        Ok(core::transpose(t, -2, -1)?)
    }

    /// Without the axes of size 1: all of them, or those given.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([1, 3, 1]).squeeze(0).shape  //=> [3, 1]
    /// tensor::zeros([1, 3, 1]).squeeze().shape  //=> [3]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn squeeze(t: &mut Tensor) -> Fallible<Tensor> {
        Ok(core::squeeze(t, None)?)
    }

    #[rhai_fn(global, name = "squeeze", pure, return_raw)]
    pub fn squeeze_axes(t: &mut Tensor, axes: Ints) -> Fallible<Tensor> {
        Ok(core::squeeze(t, Some(&given("axes", &axes).integers()?))?)
    }

    /// With a new axis of size 1 before `axis`; -1 puts it last.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).unsqueeze(1)  //=> tensor([[1.0], [2.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn unsqueeze(t: &mut Tensor, axis: Int) -> Fallible<Tensor> {
        Ok(core::unsqueeze(t, given("axis", &axis).integer()?)?)
    }

    /// All axes as one, or those from `first` to `last`.
    ///
    /// # Example
    /// ```
    /// tensor::zeros([2, 3, 4]).flatten(1, -1).shape  //=> [2, 12]
    /// tensor([[1, 2], [3, 4]]).flatten()  //=> tensor([1.0, 2.0, 3.0, 4.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn flatten(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        on(&ctx, t, |t| core::flatten(t, 0, -1))
    }

    #[rhai_fn(global, name = "flatten", pure, return_raw)]
    pub fn flatten_axes(ctx: NativeCallContext, t: &mut Tensor, first: Int, last: Int) -> Fallible<Tensor> {
        let (first, last) = (given("first", &first).integer()?, given("last", &last).integer()?);
        on(&ctx, t, move |t| core::flatten(t, first, last))
    }

    /// Axes of size 1 stretched to other sizes, and new axes put in front; -1 keeps a size. Nothing is copied.
    ///
    /// # Example
    /// ```
    /// tensor([[1], [2]]).expand([-1, 3])  //=> tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn expand(t: &mut Tensor, shape: Array) -> Fallible<Tensor> {
        Ok(core::expand(t, &given("shape", &shape.into()).integers()?)?)
    }

    /// The whole tensor repeated along each axis; more counts than axes put new axes in front.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).repeat(2)  //=> tensor([1.0, 2.0, 1.0, 2.0])
    /// tensor([1, 2]).repeat([2, 1])  //=> tensor([[1.0, 2.0], [1.0, 2.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn repeat(ctx: NativeCallContext, t: &mut Tensor, counts: Ints) -> Fallible<Tensor> {
        let counts = given("counts", &counts).integers()?;
        on(&ctx, t, move |t| core::repeat(t, &counts))
    }

    /// Cut along an axis, 0 without one: into pieces of one size, or of the sizes in an array.
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
        let pieces = match sizes.is_array() {
            true => given("sizes", &sizes).integers()?,
            false => core::even_sizes(t, given("sizes", &sizes).integer()?, axis)?,
        };
        Ok(core::split(t, &pieces, axis)?.into_iter().map(Dynamic::from).collect())
    }

    /// Entries moved along an axis; what leaves one end comes in at the other.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3]).roll(1, 0)  //=> tensor([3.0, 1.0, 2.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn roll(ctx: NativeCallContext, t: &mut Tensor, by: Int, axis: Int) -> Fallible<Tensor> {
        let (by, axis) = (given("by", &by).integer()?, given("axis", &axis).integer()?);
        on(&ctx, t, move |t| core::roll(t, by, axis))
    }

    /// Entries in reverse order along all axes, or those given.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).flip(1)  //=> tensor([[2.0, 1.0], [4.0, 3.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn flip(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        on(&ctx, t, |t| core::flip(t, None))
    }

    #[rhai_fn(global, name = "flip", pure, return_raw)]
    pub fn flip_axes(ctx: NativeCallContext, t: &mut Tensor, axes: Ints) -> Fallible<Tensor> {
        let axes = given("axes", &axes).integers()?;
        on(&ctx, t, move |t| core::flip(t, Some(&axes)))
    }

    /// What lies on and below the diagonal of the last two axes, with 0 above; `diagonal` moves it right, or left below 0.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).tril()  //=> tensor([[1.0, 0.0], [3.0, 4.0]])
    /// tensor([[1, 2], [3, 4]]).tril(-1)  //=> tensor([[0.0, 0.0], [3.0, 0.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn tril(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        on(&ctx, t, |t| core::tril(t, 0))
    }

    #[rhai_fn(global, name = "tril", pure, return_raw)]
    pub fn tril_from(ctx: NativeCallContext, t: &mut Tensor, diagonal: Int) -> Fallible<Tensor> {
        let diagonal = given("diagonal", &diagonal).integer()?;
        on(&ctx, t, move |t| core::tril(t, diagonal))
    }

    /// What lies on and above the diagonal of the last two axes, with 0 below; `diagonal` moves it right, or left below 0.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).triu()  //=> tensor([[1.0, 2.0], [0.0, 4.0]])
    /// tensor([[1, 2], [3, 4]]).triu(1)  //=> tensor([[0.0, 2.0], [0.0, 0.0]])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn triu(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        on(&ctx, t, |t| core::triu(t, 0))
    }

    #[rhai_fn(global, name = "triu", pure, return_raw)]
    pub fn triu_from(ctx: NativeCallContext, t: &mut Tensor, diagonal: Int) -> Fallible<Tensor> {
        let diagonal = given("diagonal", &diagonal).integer()?;
        on(&ctx, t, move |t| core::triu(t, diagonal))
    }

    /// The diagonal of a matrix, or the matrix with a vector as its diagonal; `diagonal` moves it right, or left below 0.
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).diag()  //=> tensor([1.0, 4.0])
    /// tensor([1, 2]).diag()  //=> tensor([[1.0, 0.0], [0.0, 2.0]])
    /// tensor([[1, 2], [3, 4]]).diag(1)  //=> tensor([2.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn diag(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        on(&ctx, t, |t| core::diag(t, 0))
    }

    #[rhai_fn(global, name = "diag", pure, return_raw)]
    pub fn diag_from(ctx: NativeCallContext, t: &mut Tensor, diagonal: Int) -> Fallible<Tensor> {
        let diagonal = given("diagonal", &diagonal).integer()?;
        on(&ctx, t, move |t| core::diag(t, diagonal))
    }
}
