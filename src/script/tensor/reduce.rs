//! Reductions: without axes to a plain number, over chosen axes to a tensor.
//!
//! Where gradients are computed (`m.grads`, `tensor::grad`) the number stays a tensor without axes, so that they flow.

use super::{growing, on, plain, value_of};
use crate::script::engine::options::OptionReader;
use crate::script::engine::value::Ints;
use crate::script::prelude::*;
use crate::tensor::reduce::{CorrectionOptions, KeepdimOptions, NormOptions, Reduction, number, reduce};
use crate::tensor::{statistics, steps};

/// Reduces the whole tensor.
fn whole(ctx: &NativeCallContext, t: &Tensor, how: Reduction) -> Fallible<Num> {
    if t.track_op() {
        return Ok(value_of(on(ctx, t, move |t| reduce(t, how, None, false))?)?);
    }
    on(ctx, t, move |t| number(t, how)).map(plain)
}

/// Reduces the whole tensor to true or false.
fn answer(ctx: &NativeCallContext, t: &Tensor, how: Reduction) -> Fallible<bool> {
    on(ctx, t, move |t| number(t, how)).map(|number| number.as_f64() != 0.0)
}

/// Reduces over axes, and reads the last option, `keepdim`.
fn over(
    ctx: &NativeCallContext,
    t: &Tensor,
    how: Reduction,
    axes: &Dynamic,
    mut read: OptionReader,
) -> Fallible<Tensor> {
    let KeepdimOptions { keepdim } = read.declared()?;
    read.finish()?;
    let axes = given("axes", axes).integers()?;
    on(ctx, t, move |t| reduce(t, how, Some(&axes), keepdim))
}

macro_rules! reductions {
    ($($(#[doc = $doc:tt])* $name:ident $over:ident = $called:tt => $how:expr;)*) => {
        #[export_module(manifest)]
        pub mod simple {
            $(
                $(#[doc = $doc])*
                #[rhai_fn(global, name = $called, pure, return_raw)]
                pub fn $name(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Num> {
                    super::whole(&ctx, t, $how)
                }

                #[rhai_fn(global, name = $called, pure, return_raw)]
                pub fn $over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
                    super::over(&ctx, t, $how, &axes, super::options(options))
                }
            )*
        }
    };
}

reductions! {
    /// Computes the sum of all elements as a number, or over one axis or several as a tensor.
    ///
    /// Integers and masks are summed in i64, floats in f64 and in a fixed order. The sum of nothing is 0.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2], [3, 4]]);
    /// t.sum(0)  //=> tensor([4.0, 6.0])
    /// t.sum(-1, #{ keepdim: true })  //=> tensor([[3.0], [7.0]])
    /// t.sum()  //=> 10.0
    /// (t > 1).sum()  //=> 3
    /// ```
    sum sum_over = "sum" => Reduction::Sum;
    /// Computes the product of all elements, or over chosen axes. The product of nothing is 1.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).prod(0)  //=> tensor([3.0, 8.0])
    /// ```
    prod prod_over = "prod" => Reduction::Prod;
    /// Computes the mean of all elements, or over chosen axes.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).mean(1)  //=> tensor([1.5, 3.5])
    /// ```
    mean mean_over = "mean" => Reduction::Mean;
    /// Returns the smallest element, or the smallest over chosen axes; NaN where there is one.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).min(0)  //=> tensor([1.0, 2.0])
    /// ```
    min min_over = "min" => Reduction::Min;
    /// Returns the largest element, or the largest over chosen axes; NaN where there is one.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 4]]).max(0)  //=> tensor([3.0, 4.0])
    /// ```
    max max_over = "max" => Reduction::Max;
    /// Computes the logarithm of the sum of e^x, without overflow, or over chosen axes.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1000, 0], [1000, 0]]).logsumexp(1)  //=> tensor([1000.0, 1000.0])
    /// ```
    logsumexp logsumexp_over = "logsumexp" => Reduction::LogSumExp;
    /// Computes the median of all elements, or over chosen axes; the mean of the two middle ones where their number is
    /// even.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2, 9], [3, 4, 5]]).median(1)  //=> tensor([2.0, 4.0])
    /// ```
    median median_over = "median" => Reduction::Median;
}

#[export_module(manifest)]
pub mod answers {
    /// Returns whether any element is not 0, as true or false, or over chosen axes as a mask.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[0, 2], [0, 0]]);
    /// t.any(0)  //=> tensor([0, 1], u8)
    /// (t > 1).any()  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn any(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<bool> {
        super::answer(&ctx, t, Reduction::Any)
    }

    #[rhai_fn(global, name = "any", pure, return_raw)]
    pub fn any_over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
        super::over(&ctx, t, Reduction::Any, &axes, super::options(options))
    }

    /// Returns whether no element is 0, as true or false, or over chosen axes as a mask.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[0, 2], [0, 1]]);
    /// t.all(0)  //=> tensor([0, 1], u8)
    /// (t >= 0).all()  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn all(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<bool> {
        super::answer(&ctx, t, Reduction::All)
    }

    #[rhai_fn(global, name = "all", pure, return_raw)]
    pub fn all_over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
        super::over(&ctx, t, Reduction::All, &axes, super::options(options))
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Computes the variance of all elements, or over chosen axes: sum (x - mean)^2 / (n - correction).
    ///
    /// By default it is the sample variance, with n - 1.
    ///
    /// # Options
    /// - [correction]
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2], [3, 6]]);
    /// t.variance(0, #{ correction: 0 })  //=> tensor([1.0, 4.0])
    /// t.variance(1)  //=> tensor([0.5, 4.5])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn variance(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Num> {
        super::whole(&ctx, t, Reduction::Var { correction: 1.0 })
    }

    #[rhai_fn(global, name = "variance", pure, return_raw)]
    pub fn variance_over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
        let mut read = super::options(options);
        let CorrectionOptions { correction } = read.declared()?;
        super::over(&ctx, t, Reduction::Var { correction }, &axes, read)
    }

    /// Computes the standard deviation of all elements, or over chosen axes: the square root of the variance.
    ///
    /// # Options
    /// - [correction]
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// tensor([[1, 2], [3, 6]]).std(0, #{ correction: 0 })  //=> tensor([1.0, 2.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn std(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Num> {
        super::whole(&ctx, t, Reduction::Std { correction: 1.0 })
    }

    #[rhai_fn(global, name = "std", pure, return_raw)]
    pub fn std_over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
        let mut read = super::options(options);
        let CorrectionOptions { correction } = read.declared()?;
        super::over(&ctx, t, Reduction::Std { correction }, &axes, read)
    }

    /// Computes the norm of all elements, (sum |x|^p)^(1/p) with p = 2, or over chosen axes.
    ///
    /// # Options
    /// - [norm]
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[3, 4], [-6, 8]]);
    /// t.norm(1)  //=> tensor([5.0, 10.0])
    /// t.norm(1, #{ p: "inf" })  //=> tensor([4.0, 8.0])
    /// t.norm(0, #{ p: 1 })  //=> tensor([9.0, 12.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn norm(ctx: NativeCallContext, t: &mut Tensor) -> Fallible<Num> {
        super::whole(&ctx, t, Reduction::Norm { p: 2.0 })
    }

    #[rhai_fn(global, name = "norm", pure, return_raw)]
    pub fn norm_over(ctx: NativeCallContext, t: &mut Tensor, axes: Ints, options: Options) -> Fallible<Tensor> {
        let mut read = super::options(options);
        let NormOptions { p } = read.declared()?;
        super::over(&ctx, t, Reduction::Norm { p: p.0 }, &axes, read)
    }

    /// Computes the quantile `q`, from 0 to 1, of all elements, or over chosen axes.
    ///
    /// It is interpolated linearly between two ranks. Over axes `q` may be an array: then the result has a new first axis.
    ///
    /// # Options
    /// - [keepdim]
    ///
    /// # Example
    /// ```
    /// let t = tensor([[1, 2, 3], [4, 5, 6]]);
    /// t.quantile(0.5, 1)  //=> tensor([2.0, 5.0])
    /// t.quantile([0, 1], 0)  //=> tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    /// t.quantile(0.5)  //=> 3.5
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn quantile(ctx: NativeCallContext, t: &mut Tensor, q: Num) -> Fallible<Num> {
        super::whole(&ctx, t, Reduction::Quantile { q: given("q", &q).number()? })
    }

    #[rhai_fn(global, name = "quantile", pure, return_raw)]
    pub fn quantile_over(
        ctx: NativeCallContext,
        t: &mut Tensor,
        q: Num,
        axes: Ints,
        options: Options,
    ) -> Fallible<Tensor> {
        let mut read = super::options(options);
        if !q.is_array() {
            let q = given("q", &q).number()?;
            return super::over(&ctx, t, Reduction::Quantile { q }, &axes, read);
        }
        let KeepdimOptions { keepdim } = read.declared()?;
        read.finish()?;
        let qs = given("q", &q).numbers()?;
        let axes = given("axes", &axes).integers()?;
        let cost = steps(t).saturating_mul(qs.len());
        growing(&ctx, t, cost, move |t| statistics::quantiles(t, &qs, Some(&axes), keepdim))
    }

    /// Computes the percentile of all elements: `percent` from 0 to 100.
    ///
    /// # Example
    /// ```
    /// tensor([1, 2, 3, 4, 5]).percentile(25)  //=> 2.0
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn percentile(ctx: NativeCallContext, t: &mut Tensor, percent: Num) -> Fallible<Num> {
        super::whole(&ctx, t, Reduction::Quantile { q: given("percent", &percent).number()? / 100.0 })
    }
}
