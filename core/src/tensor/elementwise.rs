//! Element-wise functions. Integers are converted to f32 where the result is not an integer.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LN_10, SQRT_2};

use candle_core::Tensor;

use super::{backward, dtype, element};
use crate::common::*;

crate::options! {
    pub struct NanToNumOptions {
        /// Number that replaces NaN.
        nan: f64 = 0.0 => or_nan();
        /// Number that replaces infinity.
        posinf: Option<f64> = None => usually("the dtype's largest number").or_nan();
        /// Number that replaces minus infinity.
        neginf: Option<f64> = None => usually("the dtype's smallest number").or_nan();
    }
}

macro_rules! smooth {
    ($($(#[$doc:meta])* $name:ident: $candle:ident, $slope:expr;)*) => { $(
        $(#[$doc])*
        pub fn $name(t: &Tensor) -> Result<Tensor> {
            let x = floating(t)?;
            let constant = x.detach();
            // The type of the argument is known here, and not where the slope stands.
            let slope: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor> = $slope;
            Ok(backward::on_tape_by(x.$candle()?, &x, move |result| Ok(slope(&constant, result)?)))
        }
    )* };
}

// Each with its derivative, from x and the result.
smooth! {
    /// The exponential.
    exp: exp, |_, result| Ok(result.clone());
    /// The natural logarithm.
    log: log, |x, _| x.recip();
    sin: sin, |x, _| x.cos();
    cos: cos, |x, _| x.sin()?.neg();
    tanh: tanh, |_, result| result.sqr()?.affine(-1.0, 1.0);
    /// The error function.
    erf: erf, |x, _| x.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI;
    /// x * sigmoid(x).
    silu: silu, |x, result| {
        // sigmoid (1 + x (1 - sigmoid)), where x sigmoid is the result.
        let sigmoid = x.neg()?.exp()?.affine(1.0, 1.0)?.recip()?;
        &sigmoid + (result * sigmoid.affine(-1.0, 1.0)?)?
    };
    /// 1 / x.
    recip: recip, |_, result| result.sqr()?.neg();
}

/// Computes the logarithm to base 2, exact for powers of 2.
pub fn log2(t: &Tensor) -> Result<Tensor> {
    logarithm("log2", t, f64::log2, LN_2)
}

/// Computes the logarithm to base 10, exact for powers of 10.
pub fn log10(t: &Tensor) -> Result<Tensor> {
    logarithm("log10", t, f64::log10, LN_10)
}

/// Computes a logarithm to a base, whose natural logarithm is `scale`.
fn logarithm(name: &'static str, t: &Tensor, f: fn(f64) -> f64, scale: f64) -> Result<Tensor> {
    let x = floating(t)?;
    let constant = x.detach();
    backward::with_gradient(name, element::map(&constant, f)?, &[&x], move |_, gradient| {
        Ok(vec![Some((gradient * (constant.recip()? / scale)?)?)])
    })
}

/// Computes the square root; the gradient at 0 is infinite.
pub fn sqrt(t: &Tensor) -> Result<Tensor> {
    let x = floating(t)?;
    Ok(backward::on_tape_by(x.sqrt()?, &x, |result| Ok((result.recip()? * 0.5)?)))
}

/// Computes x * P(X <= x) for a standard normal X: the exact form, not the tanh approximation.
pub fn gelu(t: &Tensor) -> Result<Tensor> {
    let x = floating(t)?;
    let constant = x.detach();
    // P(X <= x) plus x times the density; candle's own derivative has six digits.
    backward::with_gradient("gelu", constant.gelu_erf()?, &[&x], move |_, gradient| {
        let share = (&constant / SQRT_2)?.erf()?.affine(0.5, 0.5)?;
        let density = ((constant.sqr()? * -0.5)?.exp()? * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0))?;
        Ok(vec![Some((gradient * (share + (&constant * density)?)?)?)])
    })
}

fn floating(t: &Tensor) -> Result<Tensor> {
    let to = dtype::float_for(t.dtype());
    element::room(t.dims(), to)?;
    dtype::convert(t, to)
}

/// Computes 1 / (1 + e^-x).
pub fn sigmoid(t: &Tensor) -> Result<Tensor> {
    let x = floating(t)?;
    let result = x.neg()?.exp()?.affine(1.0, 1.0)?.recip()?;
    Ok(backward::on_tape_by(result, &x, |result| Ok((result * result.affine(-1.0, 1.0)?)?)))
}

/// Computes `ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))`, which for large x is x.
pub fn softplus(t: &Tensor) -> Result<Tensor> {
    let small = (t.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok((t.relu()? + small)?)
}

/// Computes max(x, 0); integers stay integers. The gradient at 0 is 0.
pub fn relu(t: &Tensor) -> Result<Tensor> {
    if dtype::is_float(t.dtype()) {
        // By comparison, so that NaN stays NaN.
        if !t.device().is_cpu() {
            return relu_there(t);
        }
        let kept = element::kept_where(t, t, |x| x > 0.0 || x.is_nan())?;
        backward::with_gradient("relu", kept, &[t], |result, gradient| {
            Ok(vec![Some(element::kept_where(gradient, result, |x| x != 0.0)?)])
        })
    } else {
        whole(t, |x| Some(x.max(0)))
    }
}

/// Computes max(x, 0) on a GPU, where the numbers stay.
fn relu_there(t: &Tensor) -> Result<Tensor> {
    let constant = t.detach();
    let kept = constant.le(0.0)?.where_cond(&constant.zeros_like()?, &constant)?;
    backward::with_gradient("relu", kept, &[t], |result, gradient| {
        Ok(vec![Some(result.ne(0.0)?.where_cond(gradient, &gradient.zeros_like()?)?)])
    })
}

/// Computes the absolute value; integers stay integers. The gradient at 0 is 0.
pub fn abs(t: &Tensor) -> Result<Tensor> {
    if !dtype::is_float(t.dtype()) {
        return whole(t, i64::checked_abs);
    }
    let x = floating(t)?;
    let constant = x.detach();
    backward::with_gradient("abs", constant.abs()?, &[&x], move |_, gradient| {
        Ok(vec![Some((gradient * sign(&constant)?)?)])
    })
}

/// Returns the sign: -1, 0 or 1; NaN stays NaN.
pub fn sign(t: &Tensor) -> Result<Tensor> {
    if !t.device().is_cpu() && dtype::is_float(t.dtype()) {
        let t = t.detach();
        let side = |mask: Tensor| mask.to_dtype(t.dtype());
        let found = (side(t.gt(0.0)?)? - side(t.lt(0.0)?)?)?;
        // What is not a number stays none.
        return Ok(t.ne(&t)?.where_cond(&t, &found)?);
    }
    element::map(t, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() })
}

/// Rounds to the nearest integer, halves to even.
pub fn round(t: &Tensor) -> Result<Tensor> {
    rounded(t, f64::round_ties_even)
}

pub fn floor(t: &Tensor) -> Result<Tensor> {
    rounded(t, f64::floor)
}

pub fn ceil(t: &Tensor) -> Result<Tensor> {
    rounded(t, f64::ceil)
}

fn rounded(t: &Tensor, f: impl Fn(f64) -> f64 + Sync) -> Result<Tensor> {
    if dtype::is_float(t.dtype()) { element::map(t, f) } else { Ok(t.clone()) }
}

fn whole(t: &Tensor, f: impl Fn(i64) -> Option<i64>) -> Result<Tensor> {
    let values: Option<Vec<i64>> = element::ints(t)?.into_iter().map(f).collect();
    match values {
        Some(values) => dtype::cast(&element::int_tensor(values, t.dims(), t.device())?, t.dtype()),
        None => bail!(Numeric, "the absolute value of {} does not fit i64", i64::MIN),
    }
}

pub fn is_nan(t: &Tensor) -> Result<Tensor> {
    element::mask(t, f64::is_nan)
}

pub fn is_inf(t: &Tensor) -> Result<Tensor> {
    element::mask(t, f64::is_infinite)
}

pub fn is_finite(t: &Tensor) -> Result<Tensor> {
    element::mask(t, f64::is_finite)
}

/// Replaces NaN and infinities, which get no gradient.
pub fn nan_to_num(t: &Tensor, nan: f64, above: Option<f64>, below: Option<f64>) -> Result<Tensor> {
    let largest = largest(t.dtype());
    let above = above.unwrap_or(largest);
    let below = below.unwrap_or(-largest);
    let replaced = element::map(t, |x| match x {
        x if x.is_nan() => nan,
        f64::INFINITY => above,
        f64::NEG_INFINITY => below,
        x => x,
    })?;
    let constant = t.detach();
    backward::with_gradient("nan_to_num", replaced, &[t], move |_, gradient| {
        Ok(vec![Some(is_finite(&constant)?.where_cond(gradient, &gradient.zeros_like()?)?)])
    })
}

fn largest(dtype: candle_core::DType) -> f64 {
    use candle_core::DType::*;
    match dtype {
        F64 => f64::MAX,
        F16 => half::f16::MAX.to_f64(),
        BF16 => half::bf16::MAX.to_f64(),
        F8E4M3 => 448.0,
        _ => f64::from(f32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use candle_core::DType;

    type UnaryFunction = fn(&Tensor) -> Result<Tensor>;
    type PlainFunction = fn(f64) -> f64;

    fn f64s(t: Result<Tensor>) -> Vec<f64> {
        element::floats(&t.unwrap()).unwrap()
    }

    #[test]
    fn every_function_over_every_dtype() {
        let smooth: [(UnaryFunction, PlainFunction); 11] = [
            (exp, f64::exp),
            (log, f64::ln),
            (log2, f64::log2),
            (log10, f64::log10),
            (sqrt, f64::sqrt),
            (sin, f64::sin),
            (cos, f64::cos),
            (tanh, f64::tanh),
            (sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (silu, |x| x / (1.0 + (-x).exp())),
            (recip, |x| 1.0 / x),
        ];
        for dtype in dtype::ALL {
            let t = create::from_floats(vec![1.0, 2.0], &[2], dtype).unwrap();
            let tolerance = if matches!(dtype, DType::F16 | DType::BF16) { 2e-2 } else { 1e-6 };
            for (i, (ours, expected)) in smooth.iter().enumerate() {
                for (found, x) in f64s(ours(&t)).into_iter().zip([1.0, 2.0]) {
                    let wanted = expected(x);
                    assert!(
                        (found - wanted).abs() <= tolerance * wanted.abs().max(1.0),
                        "{i} {dtype:?} {found} {wanted}"
                    );
                }
            }
            for kept in [relu, abs, sign, round, floor, ceil] {
                let result = kept(&t).unwrap();
                assert_eq!(f64s(Ok(result.clone()))[0], 1.0, "{dtype:?}");
            }
        }
        let one = create::from_floats(vec![1.0], &[1], DType::F64).unwrap();
        assert!((f64s(erf(&one))[0] - 0.842_700_792_949_714_9).abs() < 1e-9);
        assert!((f64s(gelu(&one))[0] - 0.841_344_746_068_542_9).abs() < 1e-9);
    }

    #[test]
    fn rounding_and_the_odd_numbers() {
        let odd = [-2.5, -0.5, 0.5, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let t = create::from_floats(odd.to_vec(), &[7], DType::F32).unwrap();
        assert_eq!(f64s(round(&t))[..4], [-2.0, -0.0, 0.0, 2.0]);
        assert_eq!(f64s(floor(&t))[..4], [-3.0, -1.0, 0.0, 1.0]);
        assert_eq!(f64s(sign(&t))[..4], [-1.0, -1.0, 1.0, 1.0]);
        assert!(f64s(sign(&t))[4].is_nan() && f64s(relu(&t))[4].is_nan());
        assert_eq!(f64s(is_nan(&t)), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(f64s(is_inf(&t)), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(f64s(is_finite(&t)), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let mended = f64s(nan_to_num(&t, 7.0, None, Some(-1.0)));
        assert_eq!(mended[4..], [7.0, f64::from(f32::MAX), -1.0]);
        assert_eq!(f64s(sigmoid(&t))[5..], [1.0, 0.0]);
    }
}
