//! Comparisons, minimum and maximum, and masks. A mask is a u8 tensor of 0 and 1.

use candle_core::{DType, Tensor};

use super::{Number, Operand, arithmetic, axes, backward, device, dtype, element};
use crate::common::*;

crate::options! {
    /// Tolerances of [`all_close`].
    pub struct AllCloseOptions {
        /// Tolerance relative to the size of `other`.
        rtol: f64 = 1e-5;
        /// Absolute tolerance.
        atol: f64 = 1e-8;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Compares two operands; the mask is 1 where the comparison holds. NaN equals nothing, not even itself.
pub fn compare(how: Comparison, a: &Operand, b: &Operand) -> Result<Tensor> {
    let common = a.common_dtype(b);
    // An integer beside a float number would be rounded in f32.
    let mixed = !operand_is_float(a) || !operand_is_float(b);
    let to = if dtype::is_float(common) && mixed && !weak_integer(a, b) { DType::F64 } else { comparable(common) };
    element::room(&axes::broadcast(a.dims(), b.dims())?, to)?;
    let (x, y) = arithmetic::stretched(a, b, to)?;
    // A mask is a constant.
    let x = x.detach();
    let y = y.detach();
    Ok(match how {
        Comparison::Eq => x.eq(&y)?,
        Comparison::Ne => x.ne(&y)?,
        Comparison::Lt => x.lt(&y)?,
        Comparison::Le => x.le(&y)?,
        Comparison::Gt => x.gt(&y)?,
        Comparison::Ge => x.ge(&y)?,
    })
}

/// Returns whether a float tensor meets an integer that a script wrote: `t > 0`.
fn weak_integer(a: &Operand, b: &Operand) -> bool {
    let is = |n: &Operand, t: &Operand| matches!(n, Operand::Number(Number::Int(_))) && operand_is_float(t);
    is(a, b) || is(b, a)
}

fn operand_is_float(operand: &Operand) -> bool {
    match operand {
        Operand::Tensor(t) => dtype::is_float(t.dtype()),
        Operand::Number(n) => matches!(n, Number::Float(_)),
    }
}

/// Returns the dtype for comparisons: integers are compared as i64, so that the comparison with a number outside a
/// narrow dtype is right.
fn comparable(dtype: DType) -> DType {
    if dtype::is_float(dtype) { dtype::float_for(dtype) } else { DType::I64 }
}

/// Returns a mask of the elements that are not 0; NaN is not 0.
pub fn truth(t: &Tensor) -> Result<Tensor> {
    element::mask(t, |x| x != 0.0)
}

pub fn and(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    logical(a, b, |x, y| x & y)
}

pub fn or(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    logical(a, b, |x, y| x | y)
}

pub fn xor(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    logical(a, b, |x, y| x ^ y)
}

pub fn not(t: &Tensor) -> Result<Tensor> {
    element::mask(t, |x| x == 0.0)
}

fn logical(a: &Tensor, b: &Tensor, f: impl Fn(u8, u8) -> u8) -> Result<Tensor> {
    element::room(&axes::broadcast(a.dims(), b.dims())?, DType::U8)?;
    let (x, y) = arithmetic::stretched(&truth(a)?.into(), &truth(b)?.into(), DType::U8)?;
    let pairs = element::bytes(&x)?.into_iter().zip(element::bytes(&y)?);
    let result: Vec<u8> = pairs.map(|(x, y)| f(x, y)).collect();
    Ok(Tensor::from_vec(result, x.dims(), a.device())?)
}

/// Selects `a` where the mask is not 0, else `b`, element by element.
pub fn select(mask: &Tensor, a: &Operand, b: &Operand) -> Result<Tensor> {
    if dtype::is_float(mask.dtype()) {
        bail!(Argument, "expected a mask, found a tensor of {}", mask.dtype().as_str());
    }
    let to = a.common_dtype(b);
    let dims = axes::broadcast(&axes::broadcast(a.dims(), b.dims())?, mask.dims())?;
    element::room(&dims, to)?;
    let stretch = |t: Tensor| t.broadcast_as(dims.as_slice());
    let x = a.tensor(to, b)?;
    let y = b.tensor(to, a)?;
    let mask = stretch(device::on_device_of(&truth(mask)?, &x)?)?;
    let chosen = mask.where_cond(&stretch(x.clone())?, &stretch(y.clone())?)?;
    let asked = [x.track_op(), y.track_op()];
    let sizes = [x.dims().to_vec(), y.dims().to_vec()];
    Ok(backward::on_tape(chosen, &[&x, &y], move |_, gradient| {
        let none = gradient.zeros_like()?;
        let taken = |i: usize| {
            let part = if i == 0 { mask.where_cond(gradient, &none) } else { mask.where_cond(&none, gradient) };
            asked[i].then(|| backward::summed_to(&part?, &sizes[i])).transpose()
        };
        Ok(vec![taken(0)?, taken(1)?])
    }))
}

/// Computes the element-wise maximum; NaN where either is NaN.
pub fn maximum(a: &Operand, b: &Operand) -> Result<Tensor> {
    choose(a, b, Comparison::Ge)
}

/// Computes the element-wise minimum; NaN where either is NaN.
pub fn minimum(a: &Operand, b: &Operand) -> Result<Tensor> {
    choose(a, b, Comparison::Le)
}

fn choose(a: &Operand, b: &Operand, first_wins: Comparison) -> Result<Tensor> {
    let to = a.common_dtype(b);
    let x = a.tensor(to, b)?;
    let y = b.tensor(to, a)?;
    let x = Operand::Tensor(x);
    let y = Operand::Tensor(y);
    let first = compare(first_wins, &x, &y)?;
    let first = or(&first, &compare(Comparison::Ne, &x, &x)?)?;
    select(&first, &x, &y)
}

/// Limits values to [low, high]; NaN stays NaN.
pub fn clamp(t: &Tensor, low: Option<Number>, high: Option<Number>) -> Result<Tensor> {
    if let (Some(low), Some(high)) = (low, high)
        && (low.as_f64() > high.as_f64() || low.as_f64().is_nan() || high.as_f64().is_nan())
    {
        bail!(Argument, "expected bounds with low <= high, found {low} and {high}");
    }
    let mut clamped = t.clone();
    if let Some(low) = low {
        clamped = maximum(&clamped.into(), &low.into())?;
    }
    if let Some(high) = high {
        clamped = minimum(&clamped.into(), &high.into())?;
    }
    Ok(clamped)
}

/// Returns whether two tensors have the same shape and equal elements; the dtype may differ, and NaN equals nothing.
pub fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dims() != b.dims() {
        return Ok(false);
    }
    if !dtype::is_float(a.dtype()) && !dtype::is_float(b.dtype()) {
        return Ok(element::ints(a)? == element::ints(b)?);
    }
    Ok(element::floats(a)? == element::floats(b)?)
}

/// Returns whether two tensors have the same shape, dtype and elements to the bit, NaN included.
pub fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        return Ok(false);
    }
    if !dtype::is_float(a.dtype()) {
        return equal(a, b);
    }
    let a = element::floats(a)?;
    let b = element::floats(b)?;
    Ok(a.into_iter().map(f64::to_bits).eq(b.into_iter().map(f64::to_bits)))
}

/// Returns whether |a - b| <= absolute + relative * |b| for all elements; equal infinities are close, and NaN is close
/// to nothing.
pub fn all_close(a: &Tensor, b: &Tensor, relative: f64, absolute: f64) -> Result<bool> {
    element::room(&axes::broadcast(a.dims(), b.dims())?, DType::F64)?;
    let (x, y) = arithmetic::stretched(&a.into(), &b.into(), DType::F64)?;
    let close = |(x, y): (f64, f64)| x == y || (y.is_finite() && (x - y).abs() <= absolute + relative * y.abs());
    Ok(element::floats(&x)?.into_iter().zip(element::floats(&y)?).all(close))
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::*;

    fn t(values: &[f64], dtype: DType) -> Tensor {
        create::from_floats(values.to_vec(), &[values.len()], dtype).unwrap()
    }

    fn bits(t: Result<Tensor>) -> Vec<i64> {
        element::ints(&t.unwrap()).unwrap()
    }

    #[test]
    fn comparisons_over_every_dtype() {
        use Comparison::*;
        for dtype in dtype::ALL {
            let x = t(&[1.0, 2.0, 3.0], dtype);
            for (how, expected) in
                [(Eq, [0, 1, 0]), (Ne, [1, 0, 1]), (Lt, [1, 0, 0]), (Le, [1, 1, 0]), (Gt, [0, 0, 1]), (Ge, [0, 1, 1])]
            {
                let mask = compare(how, &x.clone().into(), &2.into());
                assert_eq!(mask.as_ref().unwrap().dtype(), DType::U8);
                assert_eq!(bits(mask), expected, "{how:?} {dtype:?}");
            }
            assert_eq!(bits(compare(Lt, &1.5.into(), &x.into())), [0, 1, 1], "{dtype:?}");
        }
    }

    #[test]
    fn comparisons_are_exact() {
        let bytes = t(&[44.0], DType::U8);
        assert_eq!(bits(compare(Comparison::Eq, &bytes.into(), &300.into())), [0]);
        let large = create::from_numbers(&[Number::Int((1 << 24) + 1)], &[1], DType::I64).unwrap();
        assert_eq!(bits(compare(Comparison::Eq, &large.into(), &((1 << 24) as f64).into())), [0]);
        let tenth = t(&[0.1], DType::F32);
        assert_eq!(bits(compare(Comparison::Eq, &tenth.into(), &0.1.into())), [1]);
        let nan = t(&[f64::NAN], DType::F32);
        assert_eq!(bits(compare(Comparison::Eq, &nan.clone().into(), &nan.clone().into())), [0]);
        assert_eq!(bits(compare(Comparison::Ne, &nan.clone().into(), &nan.into())), [1]);
    }

    #[test]
    fn logic_broadcasts_and_takes_any_dtype() {
        let a = create::from_floats(vec![0.0, 2.5], &[2, 1], DType::F32).unwrap();
        let b = t(&[0.0, 1.0], DType::U8);
        assert_eq!(bits(and(&a, &b)), [0, 0, 0, 1]);
        assert_eq!(bits(or(&a, &b)), [0, 1, 1, 1]);
        assert_eq!(bits(xor(&a, &b)), [0, 1, 1, 0]);
        assert_eq!(bits(not(&a)), [1, 0]);
    }

    #[test]
    fn select_and_clamp() {
        let mask = t(&[1.0, 0.0], DType::U8);
        for dtype in dtype::ALL {
            let chosen = select(&mask, &t(&[1.0, 2.0], dtype).into(), &0.into()).unwrap();
            assert_eq!((element::floats(&chosen).unwrap(), chosen.dtype()), (vec![1.0, 0.0], dtype));
        }
        assert!(select(&t(&[1.0], DType::F32), &1.into(), &0.into()).is_err());
        let x = t(&[-5.0, f64::NAN, 5.0], DType::F32);
        let clamped = element::floats(&clamp(&x, Some(Number::Int(-1)), Some(Number::Float(1.5))).unwrap()).unwrap();
        assert!(clamped[0] == -1.0 && clamped[1].is_nan() && clamped[2] == 1.5);
        assert!(clamp(&x, Some(Number::Int(2)), Some(Number::Int(1))).is_err());
        assert!(clamp(&x, Some(Number::Float(f64::NAN)), Some(Number::Int(1))).is_err());
    }

    #[test]
    fn closeness() {
        let x = t(&[1.0, f64::INFINITY], DType::F64);
        assert!(all_close(&x, &t(&[1.0 + 1e-9, f64::INFINITY], DType::F64), 1e-5, 1e-8).unwrap());
        assert!(!all_close(&x, &t(&[1.1, f64::INFINITY], DType::F64), 1e-5, 1e-8).unwrap());
        assert!(!all_close(&t(&[1.0], DType::F64), &t(&[f64::INFINITY], DType::F64), 1e-5, 1e-8).unwrap());
        assert!(!equal(&t(&[f64::NAN], DType::F32), &t(&[f64::NAN], DType::F32)).unwrap());
        assert!(equal(&t(&[1.0], DType::F32), &t(&[1.0], DType::I64)).unwrap());
        assert!(!equal(&t(&[1.0], DType::F32), &t(&[1.0, 1.0], DType::F32)).unwrap());
    }
}
