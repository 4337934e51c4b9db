//! Arithmetic between tensors and numbers, with broadcasting.
//!
//! Floats are computed in the wider dtype of the two. Integers are computed in i64 and stay i64, so that the difference
//! of two masks is -1 and not 255; overflow is an error. `/` always gives floats.

use candle_core::{DType, Tensor};

use super::{Number, Operand, axes, backward, dtype, element};
use crate::common::*;

pub fn add(a: &Operand, b: &Operand) -> Result<Tensor> {
    match float_or_int(a, b)? {
        None => whole(a, b, "+", i64::checked_add),
        Some(to) => match (a, b) {
            (Operand::Tensor(t), Operand::Number(n)) | (Operand::Number(n), Operand::Tensor(t)) => {
                line(&dtype::convert(t, to)?, 1.0, n.as_f64())
            }
            _ => {
                let x = a.tensor(to, b)?;
                let y = b.tensor(to, a)?;
                Ok(noted(
                    x.broadcast_add(&y)?,
                    &x,
                    &y,
                    [|gradient, _, _| Ok(gradient.clone()), |gradient, _, _| Ok(gradient.clone())],
                ))
            }
        },
    }
}

pub fn sub(a: &Operand, b: &Operand) -> Result<Tensor> {
    match float_or_int(a, b)? {
        None => whole(a, b, "-", i64::checked_sub),
        Some(to) => match (a, b) {
            (Operand::Tensor(t), Operand::Number(n)) => line(&dtype::convert(t, to)?, 1.0, -n.as_f64()),
            (Operand::Number(n), Operand::Tensor(t)) => line(&dtype::convert(t, to)?, -1.0, n.as_f64()),
            _ => {
                let x = a.tensor(to, b)?;
                let y = b.tensor(to, a)?;
                Ok(noted(
                    x.broadcast_sub(&y)?,
                    &x,
                    &y,
                    [|gradient, _, _| Ok(gradient.clone()), |gradient, _, _| Ok(gradient.neg()?)],
                ))
            }
        },
    }
}

pub fn mul(a: &Operand, b: &Operand) -> Result<Tensor> {
    match float_or_int(a, b)? {
        None => whole(a, b, "*", i64::checked_mul),
        // Not affine(n, 0): adding 0 would turn -0 into 0.
        Some(to) => {
            let x = a.tensor(to, b)?;
            let y = b.tensor(to, a)?;
            let slopes: [ArgumentSlope; 2] =
                [|gradient, _, y| Ok(gradient.broadcast_mul(y)?), |gradient, x, _| Ok(gradient.broadcast_mul(x)?)];
            Ok(noted(x.broadcast_mul(&y)?, &x, &y, slopes))
        }
    }
}

/// Divides, always in floats.
pub fn div(a: &Operand, b: &Operand) -> Result<Tensor> {
    let Some(to) = float_or_int(a, b)? else {
        // Large integers are divided as f64 and rounded once.
        let quotient = a.tensor(DType::F64, b)?.broadcast_div(&b.tensor(DType::F64, a)?)?;
        return Ok(quotient.to_dtype(DType::F32)?);
    };
    let x = a.tensor(to, b)?;
    let y = b.tensor(to, a)?;
    let slopes: [ArgumentSlope; 2] = [
        |gradient, _, y| Ok(gradient.broadcast_div(y)?),
        |gradient, x, y| Ok(gradient.broadcast_div(y)?.broadcast_mul(x)?.broadcast_div(y)?.neg()?),
    ];
    Ok(noted(x.broadcast_div(&y)?, &x, &y, slopes))
}

/// Computes factor x + shift.
fn line(x: &Tensor, factor: f64, shift: f64) -> Result<Tensor> {
    Ok(backward::on_tape(x.affine(factor, shift)?, &[x], move |_, gradient| {
        Ok(vec![Some(if factor == 1.0 { gradient.clone() } else { gradient.affine(factor, 0.0)? })])
    }))
}

/// A function from the gradient of a result of x and y to that of one of them, before broadcasting is taken back.
type ArgumentSlope = fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>;

fn noted(result: Tensor, x: &Tensor, y: &Tensor, slopes: [ArgumentSlope; 2]) -> Tensor {
    let asked = [x.track_op(), y.track_op()];
    let constants = [x.detach(), y.detach()];
    backward::on_tape(result, &[x, y], move |_, gradient| {
        let taken = |i: usize| {
            let slope =
                || backward::summed_to(&slopes[i](gradient, &constants[0], &constants[1])?, constants[i].dims());
            asked[i].then(slope).transpose()
        };
        Ok(vec![taken(0)?, taken(1)?])
    })
}

/// Computes the remainder of truncated division, with the sign of `a`, as `%` of plain numbers.
pub fn rem(a: &Operand, b: &Operand) -> Result<Tensor> {
    match float_or_int(a, b)? {
        None => {
            let some_zero = element::ints(&b.tensor(DType::I64, a)?)?.contains(&0);
            if some_zero {
                bail!(Numeric, "expected divisors other than 0");
            }
            whole(a, b, "%", |x, y| Some(x.wrapping_rem(y)))
        }
        Some(to) => {
            let remainder = each(a, b, to, |x, y| x % y)?;
            sloped("%", remainder, a, b, to, [|_, _| 1.0, |x, y| -(x / y).trunc()])
        }
    }
}

/// Powers; integers to a nonnegative integer power are exact.
pub fn pow(a: &Operand, b: &Operand) -> Result<Tensor> {
    if float_or_int(a, b)?.is_none() {
        let exponents = b.tensor(DType::I64, a)?;
        if element::extent(&exponents)?.least >= 0.0 {
            return whole(a, b, "**", |x, y| x.checked_pow(u32::try_from(y).ok()?));
        }
        return each(a, b, DType::F32, f64::powf);
    }
    let to = dtype::float_for(a.common_dtype(b));
    match (a, b) {
        (Operand::Tensor(t), Operand::Number(n)) => power(&dtype::convert(t, to)?, n.as_f64()),
        _ => {
            // 0 to the power of 0 is 1, however small the exponent's change.
            let by_exponent = |x: f64, y: f64| if x == 0.0 { 0.0 } else { x.powf(y) * x.ln() };
            let by_base = |x: f64, y: f64| if y == 0.0 { 0.0 } else { y * x.powf(y - 1.0) };
            sloped("**", each(a, b, to, f64::powf)?, a, b, to, [by_base, by_exponent])
        }
    }
}

fn power(t: &Tensor, exponent: f64) -> Result<Tensor> {
    let constant = t.detach();
    Ok(backward::on_tape_by(raised(t, exponent)?, t, move |_| match exponent {
        2.0 => Ok(constant.affine(2.0, 0.0)?),
        0.0 => Ok(constant.zeros_like()?),
        _ => Ok((raised(&constant, exponent - 1.0)? * exponent)?),
    }))
}

/// Raises to a power. Small whole powers are products: a power by logarithm and exponential takes several times as
/// long.
fn raised(t: &Tensor, exponent: f64) -> Result<Tensor> {
    Ok(match exponent {
        2.0 => t.sqr()?,
        3.0 => t.sqr()?.mul(t)?,
        4.0 => t.sqr()?.sqr()?,
        _ => t.powf(exponent)?,
    })
}

/// Returns the result of two operands that [`each`] computed, with the derivative for each of them.
fn sloped(
    name: &'static str,
    result: Tensor,
    a: &Operand,
    b: &Operand,
    to: DType,
    slopes: [fn(f64, f64) -> f64; 2],
) -> Result<Tensor> {
    let x = a.tensor(to, b)?;
    let y = b.tensor(to, a)?;
    let asked = [x.track_op(), y.track_op()];
    let constant_x = x.detach();
    let constant_y = y.detach();
    backward::with_gradient(name, result, &[&x, &y], move |_, gradient| {
        let a = Operand::Tensor(constant_x.clone());
        let b = Operand::Tensor(constant_y.clone());
        let taken = |i: usize, of: &Tensor| {
            let found = || backward::summed_to(&(gradient * each(&a, &b, to, slopes[i])?)?, of.dims());
            asked[i].then(found).transpose()
        };
        Ok(vec![taken(0, &constant_x)?, taken(1, &constant_y)?])
    })
}

/// Computes the negative; integers become i64.
pub fn neg(t: &Tensor) -> Result<Tensor> {
    if dtype::is_float(t.dtype()) {
        let x = dtype::convert(t, dtype::float_for(t.dtype()))?;
        Ok(backward::on_tape(x.neg()?, &[&x], |_, gradient| Ok(vec![Some(gradient.neg()?)])))
    } else {
        sub(&Operand::Number(Number::Int(0)), &t.into())
    }
}

/// Checks that two operands broadcast and that there is memory for the result. Returns the float dtype that it is
/// computed in, or none where both are integers.
fn float_or_int(a: &Operand, b: &Operand) -> Result<Option<DType>> {
    let dims = axes::broadcast(a.dims(), b.dims())?;
    let common = a.common_dtype(b);
    if dtype::is_float(common) {
        let to = dtype::float_for(common);
        element::room(&dims, to)?;
        Ok(Some(to))
    } else {
        element::room(&dims, DType::I64)?;
        Ok(None)
    }
}

/// Returns two operands in one dtype, broadcast to their common shape.
pub(super) fn stretched(a: &Operand, b: &Operand, to: DType) -> Result<(Tensor, Tensor)> {
    let dims = axes::broadcast(a.dims(), b.dims())?;
    let stretch = |t: Tensor| t.broadcast_as(dims.as_slice());
    Ok((stretch(a.tensor(to, b)?)?, stretch(b.tensor(to, a)?)?))
}

fn whole(a: &Operand, b: &Operand, sign: &str, f: impl Fn(i64, i64) -> Option<i64>) -> Result<Tensor> {
    let (x, y) = stretched(a, b, DType::I64)?;
    let pairs = element::ints(&x)?.into_iter().zip(element::ints(&y)?);
    let result = pairs.map(|(x, y)| {
        f(x, y).ok_or_else(|| err!(Numeric, "the result of {x} {sign} {y} does not fit i64").hint("cast to f64 first"))
    });
    element::int_tensor(result.collect::<Result<_>>()?, x.dims(), x.device())
}

/// Computes a function of two operands element by element through f64, without gradients.
fn each(a: &Operand, b: &Operand, to: DType, f: impl Fn(f64, f64) -> f64) -> Result<Tensor> {
    let (x, y) = stretched(a, b, DType::F64)?;
    let pairs = element::floats(&x)?.into_iter().zip(element::floats(&y)?);
    element::tensor(pairs.map(|(x, y)| f(x, y)).collect(), x.dims(), to, x.device())
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;
    use crate::tensor::compare::{maximum, minimum};
    use crate::tensor::fixture::{f64s, t};
    use proptest::prelude::*;

    type BinaryFunction = fn(&Operand, &Operand) -> Result<Tensor>;

    #[test]
    fn every_pair_of_dtypes_adds_up() {
        for a in dtype::ALL {
            for b in dtype::ALL {
                let x = t(&[1.0, 2.0], &[2], a);
                let y = t(&[3.0, 4.0], &[2], b);
                let expect: [(BinaryFunction, [f64; 2]); 7] = [
                    (add, [4.0, 6.0]),
                    (sub, [-2.0, -2.0]),
                    (mul, [3.0, 8.0]),
                    (pow, [1.0, 16.0]),
                    (rem, [1.0, 2.0]),
                    (maximum, [3.0, 4.0]),
                    (minimum, [1.0, 2.0]),
                ];
                for (function, expected) in expect {
                    assert_eq!(f64s(&function(&x.clone().into(), &y.clone().into()).unwrap()), expected, "{a:?} {b:?}");
                }
                let half = div(&x.clone().into(), &2.into()).unwrap();
                assert_eq!((f64s(&half), half.dtype()), (vec![0.5, 1.0], dtype::float_for(a)));
            }
        }
    }

    #[test]
    fn numbers_are_weak() {
        let half = t(&[1.0], &[1], DType::F16);
        assert_eq!(add(&half.clone().into(), &1.5.into()).unwrap().dtype(), DType::F16);
        let ints = t(&[7.0], &[1], DType::U8);
        let sum = add(&ints.clone().into(), &300.into()).unwrap();
        assert_eq!((sum.dtype(), f64s(&sum)), (DType::I64, vec![307.0]));
        assert_eq!(mul(&0.5.into(), &ints.clone().into()).unwrap().dtype(), DType::F32);
        assert_eq!(f64s(&sub(&1.into(), &half.into()).unwrap()), [0.0]);
        assert_eq!(f64s(&div(&1.into(), &t(&[4.0], &[1], DType::F32).into()).unwrap()), [0.25]);
    }

    #[test]
    fn integers_never_wrap() {
        let large = create::from_numbers(&[Number::Int(i64::MAX)], &[1], DType::I64).unwrap();
        let error = add(&large.clone().into(), &1.into()).unwrap_err();
        assert_eq!(error.message, "the result of 9223372036854775807 + 1 does not fit i64");
        assert!(rem(&large.clone().into(), &0.into()).is_err());
        assert!(pow(&large.into(), &2.into()).is_err());
        assert_eq!(f64s(&neg(&t(&[1.0, 0.0], &[2], DType::U8)).unwrap()), [-1.0, 0.0]);
        assert_eq!(f64s(&pow(&t(&[2.0], &[1], DType::I64).into(), &(-1).into()).unwrap()), [0.5]);
        assert_eq!(f64s(&rem(&t(&[-7.0], &[1], DType::I64).into(), &3.into()).unwrap()), [-1.0]);
    }

    #[test]
    fn nan_wins_in_extremes_and_powers_of_negatives_are_right() {
        let nan = t(&[f64::NAN, 1.0], &[2], DType::F32);
        for function in [maximum, minimum] {
            assert!(f64s(&function(&nan.clone().into(), &0.into()).unwrap())[0].is_nan());
            assert!(f64s(&function(&0.into(), &nan.clone().into()).unwrap())[0].is_nan());
        }
        let x = t(&[-2.0, -2.0], &[2], DType::F32);
        assert_eq!(f64s(&pow(&x.clone().into(), &t(&[3.0, 2.0], &[2], DType::F32).into()).unwrap()), [-8.0, 4.0]);
        for (exponent, expected) in [(2, 4.0), (3, -8.0), (4, 16.0), (5, -32.0)] {
            assert_eq!(f64s(&pow(&x.clone().into(), &exponent.into()).unwrap()), [expected, expected]);
        }
        let most = t(&[1e30, -0.0, f64::NEG_INFINITY], &[3], DType::F32);
        assert_eq!(f64s(&pow(&most.into(), &3.into()).unwrap()), [f64::INFINITY, 0.0, f64::NEG_INFINITY]);
        assert_eq!(f64s(&pow(&2.into(), &t(&[0.5], &[1], DType::F64).into()).unwrap()), [2.0_f64.sqrt()]);
    }

    #[test]
    fn what_broadcasts_beyond_memory_is_refused() {
        let tall = t(&[1.0; 1_000_000], &[1_000_000, 1], DType::U8);
        let wide = tall.reshape((1, 1_000_000)).unwrap();
        for function in [add, mul, div, pow, maximum, rem] {
            let error = function(&tall.clone().into(), &wide.clone().into()).unwrap_err();
            assert_eq!(error.kind, crate::base::Kind::Memory);
        }
        let error = add(&t(&[0.0; 6], &[2, 3], DType::F32).into(), &t(&[0.0; 4], &[4], DType::F32).into()).unwrap_err();
        assert_eq!(error.message, "expected shapes that broadcast, found [2, 3] and [4]");
    }

    proptest! {
        #[test]
        fn broadcasting_is_the_plain_loop(rows in 0_usize..4, columns in 0_usize..4, depth in 1_usize..3) {
            let a: Vec<f64> = (0..rows * depth).map(|i| i as f64).collect();
            let b: Vec<f64> = (0..columns).map(|i| 10.0 * i as f64).collect();
            let x = t(&a, &[rows, 1, depth], DType::F64);
            let y = t(&b, &[columns, 1], DType::F64);
            let sum = add(&x.into(), &y.into()).unwrap();
            prop_assert_eq!(sum.dims(), &[rows, columns, depth]);
            let mut expected = Vec::new();
            for i in 0..rows {
                for value in &b {
                    for k in 0..depth {
                        expected.push(a[i * depth + k] + value);
                    }
                }
            }
            prop_assert_eq!(f64s(&sum), expected);
        }
    }
}
