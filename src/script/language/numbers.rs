//! Functions of numbers. The language has them for floats only; here `4` is as good as `4.0`.

use crate::script::engine::text_buffer::TextBuffer;
use crate::script::engine::value::number_text;
use crate::script::prelude::*;

/// Computes a logarithm, exact for powers of 2 and of 10.
fn to_base(x: f64, base: f64) -> f64 {
    match base {
        2.0 => x.log2(),
        10.0 => x.log10(),
        base => x.log(base),
    }
}

/// Computes the quotient of two integers without its fraction.
fn checked(a: i64, b: i64) -> Result<i64> {
    if b == 0 {
        bail!(Numeric, "division by zero: {a} / {b}");
    }
    a.checked_div(b).ok_or_else(|| err!(Numeric, "division overflow: {a} / {b}"))
}

/// Computes the quotient of two integers, where it is whole.
fn quotient(a: i64, b: i64) -> Result<i64> {
    let whole = checked(a, b)?;
    if whole * b == a {
        return Ok(whole);
    }
    Err(err!(Numeric, "the quotient of the integers {a} and {b} is not whole").hint(format!(
        "`{a} / {b}.0`, or `x / y.to_float()`, is the number {}; `div({a}, {b})` is its whole part {whole}",
        number_text(a as f64 / b as f64)
    )))
}

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
    /// Computes the square root; NaN below 0.
    ///
    /// # Example
    /// ```
    /// 16.sqrt()  //=> 4.0
    /// ```
    sqrt => f64::sqrt;
    /// Computes e to the power of a number.
    ///
    /// # Example
    /// ```
    /// 0.exp()  //=> 1.0
    /// ```
    exp => f64::exp;
    /// Computes the natural logarithm; `log` is another name for it.
    ///
    /// # Example
    /// ```
    /// 1.ln()  //=> 0.0
    /// ```
    ln => f64::ln;
    /// Computes the logarithm to base 2.
    ///
    /// # Example
    /// ```
    /// 8.log2()  //=> 3.0
    /// ```
    log2 => f64::log2;
    /// Computes the logarithm to base 10.
    ///
    /// # Example
    /// ```
    /// 1000.log10()  //=> 3.0
    /// ```
    log10 => f64::log10;
    /// Computes the sine.
    ///
    /// # Example
    /// ```
    /// 0.sin()  //=> 0.0
    /// ```
    sin => f64::sin;
    /// Computes the cosine.
    ///
    /// # Example
    /// ```
    /// 0.cos()  //=> 1.0
    /// ```
    cos => f64::cos;
    /// Computes the tangent.
    ///
    /// # Example
    /// ```
    /// 0.tan()  //=> 0.0
    /// ```
    tan => f64::tan;
    /// Computes the hyperbolic tangent.
    ///
    /// # Example
    /// ```
    /// 0.tanh()  //=> 0.0
    /// ```
    tanh => f64::tanh;
    /// Rounds down to a whole number.
    ///
    /// # Example
    /// ```
    /// (-1.5).floor()  //=> -2.0
    /// 2.floor()  //=> 2.0
    /// ```
    floor => f64::floor;
    /// Rounds up to a whole number.
    ///
    /// # Example
    /// ```
    /// 1.2.ceiling()  //=> 2.0
    /// 2.ceiling()  //=> 2.0
    /// ```
    ceiling => f64::ceil;
    /// Rounds to the nearest whole number, halves to even, as of a tensor; `round_to` keeps digits.
    ///
    /// # Example
    /// ```
    /// 2.5.round()  //=> 2.0
    /// 2.round()  //=> 2.0
    /// ```
    round => f64::round_ties_even;
}

#[export_module(manifest)]
pub mod more {
    /// Computes the natural logarithm, as of a tensor, or the one to another base.
    ///
    /// # Example
    /// ```
    /// 1.log()  //=> 0.0
    /// 2.0.log() == 2.0.ln()  //=> true
    /// 8.log(2)  //=> 3.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn log(x: Num) -> Fallible<f64> {
        Ok(given("x", &x).number()?.ln())
    }

    // The language's own, halves away from 0, would be found before that of any number.
    #[rhai_fn(name = "round", get = "round")]
    pub fn round_of_float(x: f64) -> f64 {
        x.round_ties_even()
    }

    // So would its own to base 10 be.
    #[rhai_fn(name = "log")]
    pub fn log_of_float(x: f64) -> f64 {
        x.ln()
    }

    #[rhai_fn(name = "log", return_raw)]
    pub fn log_of_base(x: Num, base: Num) -> Fallible<f64> {
        let x = given("x", &x).number()?;
        let base = given("base", &base).number()?;
        Ok(to_base(x, base))
    }

    #[rhai_fn(name = "log")]
    pub fn log_of_floats(x: f64, base: f64) -> f64 {
        to_base(x, base)
    }

    /// Returns the quotient of two integers, which has to be whole: `1 / 3` is an error, `1.0 / 3` a third, and
    /// `div(1, 3)` 0.
    #[rhai_fn(name = "/", return_raw)]
    pub fn divided(a: i64, b: i64) -> Fallible<i64> {
        Ok(quotient(a, b)?)
    }

    /// Returns the whole part of the quotient of two integers, towards 0; `%` returns the remainder.
    ///
    /// # Example
    /// ```
    /// div(7, 2)  //=> 3
    /// div(7, 2) * 2 + 7 % 2  //=> 7
    /// (-7).div(2)  //=> -3
    /// ```
    #[rhai_fn(return_raw)]
    pub fn div(a: Int, b: Int) -> Fallible<i64> {
        let a = given("a", &a).integer()?;
        let b = given("b", &b).integer()?;
        Ok(checked(a, b)?)
    }

    /// Returns whether a number is NaN.
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

    /// Returns whether a number is neither infinite nor NaN.
    ///
    /// # Example
    /// ```
    /// 1.is_finite()  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn is_finite(x: Num) -> Fallible<bool> {
        Ok(given("x", &x).number()?.is_finite())
    }

    /// Returns the number itself, so that numbers and tensors of one element can be treated alike.
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

    /// Joins the elements of an array as text, with `separator` between them.
    ///
    /// # Example
    /// ```
    /// ["a", 1, 2.5].join(", ")  //=> "a, 1, 2.5"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn join(ctx: NativeCallContext, array: &mut Array, separator: &str) -> Fallible<String> {
        let env = env(&ctx)?;
        let mut paper = TextBuffer::new(&env.task);
        paper.list(array.iter(), separator, |paper, element| match element.read_lock::<ImmutableString>() {
            Some(text) => paper.put(&text),
            None if element.is_array() || element.is_map() || element.is_float() => {
                crate::script::language::builtin_replacements::write(element, 0, paper)
            }
            None => paper.put(&element.to_string()),
        })?;
        Ok(paper.done())
    }
}
