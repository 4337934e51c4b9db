//! Sorting, top-k, argmax, cumulative sums, softmax.

use super::{heavy, on, value_of};
use crate::script::prelude::*;
use crate::tensor::normalise;
use crate::tensor::order::{self as core, Direction, SortOptions, TopkOptions};
use crate::tensor::reduce::KeepdimOptions;

fn found(values: Tensor, indices: Tensor) -> Map {
    Map::from_iter([("values".into(), Dynamic::from(values)), ("indices".into(), Dynamic::from(indices))])
}

/// Runs work that sorts, which costs more per element than other work.
fn sorting<T: Send + 'static>(
    ctx: &NativeCallContext,
    t: &Tensor,
    work: impl FnOnce(&Tensor) -> crate::base::Result<T> + Send + 'static,
) -> Fallible<T> {
    let t = t.clone();
    heavy(ctx, crate::tensor::steps(&t).saturating_mul(20), move || work(&t))
}

methods! { along_axes by on:
    /// Computes the cumulative sum along an axis; of integers in i64.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3]).cumsum(0)  //=> tensor([1.0, 3.0, 6.0])
    /// ```
    cumsum(axis: Int) => move |t| core::cumsum(t, axis);
    /// Computes softmax, e^x / sum e^x, along an axis, by default the last.
    ///
    /// # Example
    /// ```
    /// tensor([1, 1]).softmax(0)  //=> tensor([0.5, 0.5])
    /// ```
    softmax() => |t| normalise::softmax(t, -1);
    softmax_along as "softmax" (axis: Int) => move |t| normalise::softmax(t, axis);
    /// Computes the logarithm of softmax along an axis, by default the last, accurate for small probabilities too.
    ///
    /// # Example
    /// ```
    /// tensor([1000, 0]).log_softmax(0)  //=> tensor([0.0, -1000.0])
    /// ```
    log_softmax() => |t| normalise::log_softmax(t, -1);
    log_softmax_along as "log_softmax" (axis: Int) => move |t| normalise::log_softmax(t, axis);
}

#[export_module(manifest)]
pub mod methods {
    /// Sorts along an axis, by default the last: `values`, and where each was as `indices`.
    ///
    /// NaN is last in both directions, and equal elements stay in order.
    ///
    /// # Options
    /// - [sort]
    ///
    /// # Example
    /// ```
    /// let s = tensor([3, 1, 2]).sort(0, #{ descending: true });
    /// s.values  //=> tensor([3.0, 2.0, 1.0])
    /// s.indices  //=> tensor([0, 2, 1], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn sort(ctx: NativeCallContext, t: &mut Tensor, axis: Int, options: Options) -> Fallible<Map> {
        let o: SortOptions = taken(options)?;
        let axis = given("axis", &axis).integer()?;
        super::sorting(&ctx, t, move |t| core::sort(t, axis, o.direction()))
            .map(|(values, indices)| super::found(values, indices))
    }

    #[rhai_fn(global, name = "sort", pure, return_raw)]
    pub fn sort_last(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Map> {
        sort(ctx, t, (-1_i64).into(), Options::new())
    }

    /// Returns the indices that sort a tensor along an axis, by default the last.
    ///
    /// # Options
    /// - [sort]
    ///
    /// # Example
    /// ```
    /// tensor([3, 1, 2]).argsort(0)  //=> tensor([1, 2, 0], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn argsort(ctx: NativeCallContext, t: &mut Tensor, axis: Int, options: Options) -> Fallible<Tensor> {
        let o: SortOptions = taken(options)?;
        let axis = given("axis", &axis).integer()?;
        super::sorting(&ctx, t, move |t| core::argsort(t, axis, o.direction()))
    }

    #[rhai_fn(global, name = "argsort", pure, return_raw)]
    pub fn argsort_last(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Tensor> {
        argsort(ctx, t, (-1_i64).into(), Options::new())
    }

    /// Returns the `k` largest elements along an axis, by default the last, in order: `values`, and their places as
    /// `indices`.
    ///
    /// Numbers come before NaN, and of equal elements the lower index comes first.
    ///
    /// # Options
    /// - [topk]
    ///
    /// # Example
    /// ```
    /// let top = tensor([3, 9, 5]).topk(2, 0);
    /// top.values  //=> tensor([9.0, 5.0])
    /// top.indices  //=> tensor([1, 2], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn topk(ctx: NativeCallContext, t: &mut Tensor, k: Int, axis: Int, options: Options) -> Fallible<Map> {
        let o: TopkOptions = taken(options)?;
        let k = given("k", &k).size()?;
        let axis = given("axis", &axis).integer()?;
        super::sorting(&ctx, t, move |t| core::topk(t, k, axis, o.direction()))
            .map(|(values, indices)| super::found(values, indices))
    }

    #[rhai_fn(global, name = "topk", pure, return_raw)]
    pub fn topk_last(ctx: NativeCallContext, t: &mut Tensor, k: Int) -> Fallible<Map> {
        topk(ctx, t, k, (-1_i64).into(), Options::new())
    }

    /// Returns the index of the largest element: in the flattened tensor, or along an axis.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 9], [7, 3]]);
    /// t.argmax(1)  //=> tensor([1, 0], i64)
    /// t.argmax()  //=> 1
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn argmax(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Dynamic> {
        Ok(value_of(on(&ctx, t, |t| core::arg_extreme(t, None, false, Direction::Descending))?)?)
    }

    #[rhai_fn(global, name = "argmax", pure, return_raw)]
    pub fn argmax_along(ctx: NativeCallContext, t: &mut Tensor, axis: Int, options: Options) -> Fallible<Tensor> {
        super::extreme(&ctx, t, &axis, options, Direction::Descending)
    }

    /// Returns the index of the smallest element: in the flattened tensor, or along an axis.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 9], [7, 3]]).argmin(1)  //=> tensor([0, 1], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn argmin(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Dynamic> {
        Ok(value_of(on(&ctx, t, |t| core::arg_extreme(t, None, false, Direction::Ascending))?)?)
    }

    #[rhai_fn(global, name = "argmin", pure, return_raw)]
    pub fn argmin_along(ctx: NativeCallContext, t: &mut Tensor, axis: Int, options: Options) -> Fallible<Tensor> {
        super::extreme(&ctx, t, &axis, options, Direction::Ascending)
    }
}

fn extreme(ctx: &NativeCallContext, t: &Tensor, axis: &Dynamic, map: Map, way: Direction) -> Fallible<Tensor> {
    let KeepdimOptions { keepdim } = taken(map)?;
    let axis = given("axis", axis).integer()?;
    on(ctx, t, move |t| core::arg_extreme(t, Some(axis), keepdim, way))
}
