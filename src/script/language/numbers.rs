//! Functions of numbers. The language has them for floats only; here `4` is as good as `4.0`.

use rhai::plugin::*;
use rhai::{Array, NativeCallContext};

use crate::script::engine::env::env;
use crate::script::engine::paper::Paper;
use crate::script::engine::value::{Fallible, Num, given};

macro_rules! functions {
    ($($(#[doc = $doc:tt])* $name:ident => $method:path;)*) => {
        #[export_module(manifest)]
        pub mod functions {
            $(
                $(#[doc = $doc])*
                #[rhai_fn(return_raw)]
                pub fn $name(x: Num) -> Fallible<f64> {
                    Ok($method(given("x", &x).number()?))
                }
            )*
        }
    };
}

functions! {
    /// The square root; NaN below 0.
    ///
    /// # Example
    /// ```
    /// 16.sqrt()  //=> 4.0
    /// ```
    sqrt => f64::sqrt;
    /// e to the power of a number.
    ///
    /// # Example
    /// ```
    /// 0.exp()  //=> 1.0
    /// ```
    exp => f64::exp;
    /// The natural logarithm.
    ///
    /// # Example
    /// ```
    /// 1.ln()  //=> 0.0
    /// ```
    ln => f64::ln;
    /// The sine.
    ///
    /// # Example
    /// ```
    /// 0.sin()  //=> 0.0
    /// ```
    sin => f64::sin;
    /// The cosine.
    ///
    /// # Example
    /// ```
    /// 0.cos()  //=> 1.0
    /// ```
    cos => f64::cos;
    /// The tangent.
    ///
    /// # Example
    /// ```
    /// 0.tan()  //=> 0.0
    /// ```
    tan => f64::tan;
    /// The hyperbolic tangent.
    ///
    /// # Example
    /// ```
    /// 0.tanh()  //=> 0.0
    /// ```
    tanh => f64::tanh;
    /// The largest whole number that is not larger.
    ///
    /// # Example
    /// ```
    /// (-1.5).floor()  //=> -2.0
    /// 2.floor()  //=> 2.0
    /// ```
    floor => f64::floor;
    /// The smallest whole number that is not smaller.
    ///
    /// # Example
    /// ```
    /// 1.2.ceiling()  //=> 2.0
    /// 2.ceiling()  //=> 2.0
    /// ```
    ceiling => f64::ceil;
    /// The nearest whole number, halves away from 0; `round_to` keeps digits.
    ///
    /// # Example
    /// ```
    /// 2.5.round()  //=> 3.0
    /// 2.round()  //=> 2.0
    /// ```
    round => f64::round;
}

#[export_module(manifest)]
pub mod more {
    /// The logarithm to base 10, or to another.
    ///
    /// # Example
    /// ```
    /// 100.log()  //=> 2.0
    /// 8.log(2)  //=> 3.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn log(x: Num) -> Fallible<f64> {
        Ok(given("x", &x).number()?.log10())
    }

    #[rhai_fn(name = "log", return_raw)]
    pub fn log_of_base(x: Num, base: Num) -> Fallible<f64> {
        let (x, base) = (given("x", &x).number()?, given("base", &base).number()?);
        Ok(if base == 2.0 { x.log2() } else { x.log(base) })
    }

    /// Whether a number is not a number.
    ///
    /// # Example
    /// ```
    /// (0.0 / 0.0).is_nan()  //=> true
    /// 1.is_nan()  //=> false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn is_nan(x: Num) -> Fallible<bool> {
        Ok(given("x", &x).number()?.is_nan())
    }

    /// Whether a number is neither infinite nor NaN.
    ///
    /// # Example
    /// ```
    /// 1.is_finite()  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn is_finite(x: Num) -> Fallible<bool> {
        Ok(given("x", &x).number()?.is_finite())
    }

    /// The number itself, so that a number and a tensor of one element are asked alike.
    ///
    /// # Example
    /// ```
    /// 2.5.item()  //=> 2.5
    /// item(3) == 3  //=> true
    /// tensor([1, 2]).sum().item()  //=> 3.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn item(x: Num) -> Fallible<Num> {
        let _number = given("x", &x).number()?;
        Ok(x)
    }

    /// The elements of an array as text, one after the other, with `separator` between them.
    ///
    /// # Example
    /// ```
    /// ["a", 1, 2.5].join(", ")  //=> "a, 1, 2.5"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn join(ctx: NativeCallContext, array: &mut Array, separator: &str) -> Fallible<String> {
        let env = env(&ctx)?;
        let mut paper = Paper::new(&env.task);
        paper.list(array.iter(), separator, |paper, element| match element.read_lock::<ImmutableString>() {
            Some(text) => paper.put(&text),
            None if element.is_array() || element.is_map() || element.is_float() => {
                crate::script::language::standins::write(element, 0, paper)
            }
            None => paper.put(&element.to_string()),
        })?;
        Ok(paper.done())
    }
}
