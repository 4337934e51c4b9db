//! Functions of every element.

use super::on;
use crate::script::prelude::*;
use crate::tensor::elementwise;
use crate::tensor::elementwise::NanToNumOptions;

methods! { functions by on:
    /// Computes the exponential of every element.
    ///
    /// # Example
    /// ```
    /// tensor([0, 1]).exp()  //=> tensor([1.0, 2.7182817])
    /// ```
    exp() => elementwise::exp;
    /// Computes the natural logarithm of every element.
    ///
    /// # Example
    /// ```
    /// tensor([1, 0]).log()  //=> tensor([0.0, -inf])
    /// ```
    log() => elementwise::log;
    /// Computes the natural logarithm of every element; `log` is another name for it.
    ///
    /// # Example
    /// ```
    /// tensor([1, 0]).ln()  //=> tensor([0.0, -inf])
    /// ```
    ln() => elementwise::log;
    /// Computes the logarithm to base 2 of every element.
    ///
    /// # Example
    /// ```
    /// tensor([8, 0.5]).log2()  //=> tensor([3.0, -1.0])
    /// ```
    log2() => elementwise::log2;
    /// Computes the logarithm to base 10 of every element.
    ///
    /// # Example
    /// ```
    /// tensor([1000, 0.1]).log10()  //=> tensor([3.0, -1.0])
    /// ```
    log10() => elementwise::log10;
    /// Computes the square root of every element; NaN below 0.
    ///
    /// # Example
    /// ```
    /// tensor([4, -1]).sqrt()  //=> tensor([2.0, NaN])
    /// ```
    sqrt() => elementwise::sqrt;
    /// Computes the sine of every element.
    ///
    /// # Example
    /// ```
    /// tensor([0]).sin()  //=> tensor([0.0])
    /// ```
    sin() => elementwise::sin;
    /// Computes the cosine of every element.
    ///
    /// # Example
    /// ```
    /// tensor([0]).cos()  //=> tensor([1.0])
    /// ```
    cos() => elementwise::cos;
    /// Computes the hyperbolic tangent of every element.
    ///
    /// # Example
    /// ```
    /// tensor([0]).tanh()  //=> tensor([0.0])
    /// ```
    tanh() => elementwise::tanh;
    /// Computes the error function of every element.
    ///
    /// # Example
    /// ```
    /// tensor([0]).erf()  //=> tensor([0.0])
    /// ```
    erf() => elementwise::erf;
    /// Computes GELU of every element in its exact form: x times the cumulative distribution function of the standard
    /// normal.
    ///
    /// # Example
    /// ```
    /// tensor([0, 100]).gelu()  //=> tensor([0.0, 100.0])
    /// ```
    gelu() => elementwise::gelu;
    /// Computes SiLU of every element: x * sigmoid(x).
    ///
    /// # Example
    /// ```
    /// tensor([0]).silu()  //=> tensor([0.0])
    /// ```
    silu() => elementwise::silu;
    /// Computes the sigmoid of every element: 1 / (1 + e^-x).
    ///
    /// # Example
    /// ```
    /// tensor([0, 1000, -1000]).sigmoid()  //=> tensor([0.5, 1.0, 0.0])
    /// ```
    sigmoid() => elementwise::sigmoid;
    /// Computes the reciprocal of every element.
    ///
    /// # Example
    /// ```
    /// tensor([2, 4]).recip()  //=> tensor([0.5, 0.25])
    /// ```
    recip() => elementwise::recip;
    /// Computes ReLU of every element: the maximum of 0 and x; NaN stays NaN.
    ///
    /// # Example
    /// ```
    /// tensor([-1, 2]).relu()  //=> tensor([0.0, 2.0])
    /// ```
    relu() => elementwise::relu;
    /// Computes the absolute value of every element; integers stay integers.
    ///
    /// # Example
    /// ```
    /// tensor([-1, 2]).abs()  //=> tensor([1.0, 2.0])
    /// ```
    abs() => elementwise::abs;
    /// Computes the sign of every element: -1, 0 or 1; NaN stays NaN.
    ///
    /// # Example
    /// ```
    /// tensor([-7, 0, 0.5]).sign()  //=> tensor([-1.0, 0.0, 1.0])
    /// ```
    sign() => elementwise::sign;
    /// Rounds every element to the nearest integer, halves to even.
    ///
    /// # Example
    /// ```
    /// tensor([0.5, 1.5, -1.2]).round()  //=> tensor([0.0, 2.0, -1.0])
    /// ```
    round() => elementwise::round;
    /// Rounds every element down.
    ///
    /// # Example
    /// ```
    /// tensor([1.5, -1.5]).floor()  //=> tensor([1.0, -2.0])
    /// ```
    floor() => elementwise::floor;
    /// Rounds every element up.
    ///
    /// # Example
    /// ```
    /// tensor([1.5, -1.5]).ceil()  //=> tensor([2.0, -1.0])
    /// ```
    ceil() => elementwise::ceil;
    /// Returns a mask that is 1 where elements are NaN.
    ///
    /// # Example
    /// ```
    /// tensor([4, -1]).sqrt().is_nan()  //=> tensor([0, 1], u8)
    /// ```
    is_nan() => elementwise::is_nan;
    /// Returns a mask that is 1 where elements are infinite.
    ///
    /// # Example
    /// ```
    /// tensor([1, 0]).log().is_inf()  //=> tensor([0, 1], u8)
    /// ```
    is_inf() => elementwise::is_inf;
    /// Returns a mask that is 1 where elements are neither NaN nor infinite.
    ///
    /// # Example
    /// ```
    /// tensor([1, 0]).log().is_finite()  //=> tensor([1, 0], u8)
    /// ```
    is_finite() => elementwise::is_finite;
}

#[export_module(manifest)]
pub mod methods {
    /// Replaces NaN by 0 and infinities by the largest finite numbers of the dtype.
    ///
    /// # Options
    /// - [nan_to_num]
    ///
    /// # Example
    /// ```
    /// let t = tensor([-1, 0, 1]).log();
    /// t.nan_to_num(#{ neginf: -9 })  //=> tensor([0.0, -9.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn nan_to_num(ctx: NativeCallContext, t: &mut Tensor, options: Options) -> Fallible<Tensor> {
        let o: NanToNumOptions = taken(options)?;
        on(&ctx, t, move |t| elementwise::nan_to_num(t, o.nan, o.posinf, o.neginf))
    }
}
