//! Arithmetic without an operator: maximum and minimum, clamping, comparing whole tensors, casts.

use super::{number_arg, on, operand};
use crate::script::prelude::*;
use crate::tensor::compare::AllCloseOptions;
use crate::tensor::{Number, Operand, compare, dtype};

methods! { extremes by on:
    /// Computes the element-wise maximum of two tensors, with broadcasting; NaN where either is NaN.
    ///
    /// # Example
    /// ```
    /// tensor([1, 5]).maximum(3)  //=> tensor([3.0, 5.0])
    /// ```
    maximum(other: Any) => move |t| compare::maximum(&Operand::from(t), &other);
    /// Computes the element-wise minimum of two tensors, with broadcasting; NaN where either is NaN.
    ///
    /// # Example
    /// ```
    /// tensor([1, 5]).minimum(tensor([3, 4]))  //=> tensor([1.0, 4.0])
    /// ```
    minimum(other: Any) => move |t| compare::minimum(&Operand::from(t), &other);
}

#[export_module(manifest)]
pub mod methods {
    /// Limits every element to a range; `()` is no limit, and NaN stays NaN.
    ///
    /// # Example
    /// ```
    /// tensor([-5, 0, 5]).clamp(-1, 1)  //=> tensor([-1.0, 0.0, 1.0])
    /// tensor([-5, 5]).clamp(0, ())  //=> tensor([0.0, 5.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn clamp(ctx: NativeCallContext, t: &mut Tensor, low: Num, high: Num) -> Fallible<Tensor> {
        let side = |name, value: &Dynamic| -> Result<Option<Number>> {
            if value.is_unit() { Ok(None) } else { number_arg(name, value).map(Some) }
        };
        let low = side("low", &low)?;
        let high = side("high", &high)?;
        on(&ctx, t, move |t| compare::clamp(t, low, high))
    }

    /// Returns whether two tensors have the same shape and equal elements; NaN equals nothing.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).equal(tensor([1, 2], #{ dtype: "i64" }))  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn equal(ctx: NativeCallContext, t: &mut Tensor, other: Tensor) -> Fallible<bool> {
        on(&ctx, t, move |t| compare::equal(t, &other))
    }

    /// Returns whether |t - other| <= atol + rtol * |other| for all elements; equal infinities are close, and NaN is
    /// close to nothing.
    ///
    /// # Options
    /// - [all_close]
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).all_close(tensor([1, 2.00001]))  //=> true
    /// tensor([1, 2]).all_close(tensor([1, 2.1]), #{ atol: 0.2 })  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn all_close(ctx: NativeCallContext, t: &mut Tensor, other: Tensor, options: Options) -> Fallible<bool> {
        let o: AllCloseOptions = taken(options)?;
        on(&ctx, t, move |t| compare::all_close(t, &other, o.rtol, o.atol))
    }

    /// Converts to another dtype. Floats are truncated to integers, and a number that does not fit is an error.
    ///
    /// # Example
    /// ```
    /// tensor([1.9, -1.9]).to("i64")  //=> tensor([1, -1], i64)
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to(ctx: NativeCallContext, t: &mut Tensor, dtype: &str) -> Fallible<Tensor> {
        let to = super::dtype::parse(dtype).map_err(|e| e.about("dtype"))?;
        on(&ctx, t, move |t| super::dtype::cast(t, to))
    }

    /// Returns the tensor detached from the graph: no gradient flows through it.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2]).detach()  //=> tensor([1.0, 2.0])
    /// ```
    #[rhai_fn(global, pure)]
    pub fn detach(t: &mut Tensor) -> Tensor {
        Tensor::detach(t)
    }
}
