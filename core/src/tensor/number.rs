//! A plain number as scripts write it, and an operand that is a number or a tensor.

use candle_core::{DType, Device, Tensor};

use super::{device, dtype, element};
use crate::common::*;

/// A number without a dtype: an integer or a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// Returns the value as an integer, if it is one that fits.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            // 2^63 is the first float that does not fit; the comparison is false for NaN.
            Number::Float(value) if value.fract() == 0.0 && value.abs() < 9.223_372_036_854_776e18 => {
                Some(value as i64)
            }
            Number::Float(_) => None,
        }
    }

    /// Returns the value of a tensor with exactly one element.
    pub fn of(t: &Tensor) -> Result<Number> {
        if t.elem_count() != 1 {
            bail!(Shape, "expected a tensor with one element, found shape {:?}", t.dims());
        }
        if dtype::is_float(t.dtype()) {
            Ok(Number::Float(element::floats(t)?[0]))
        } else {
            Ok(Number::Int(element::ints(t)?[0]))
        }
    }
}

/// Returns the value of a tensor with exactly one element as f64.
pub fn float(t: &Tensor) -> Result<f64> {
    Ok(Number::of(t)?.as_f64())
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(value) => write!(f, "{value}"),
            Number::Float(value) => write!(f, "{value}"),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::Int(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::Float(value)
    }
}

/// An operand of an operation. Numbers are weak: they take the dtype of the tensor, except that a float with an integer
/// tensor gives f32.
#[derive(Debug, Clone)]
pub enum Operand {
    Tensor(Tensor),
    Number(Number),
}

impl Operand {
    pub fn dims(&self) -> &[usize] {
        match self {
            Operand::Tensor(t) => t.dims(),
            Operand::Number(_) => &[],
        }
    }

    /// Returns the dtype that an operation on two operands is computed in.
    pub fn common_dtype(&self, other: &Operand) -> DType {
        match (self, other) {
            (Operand::Tensor(a), Operand::Tensor(b)) => dtype::promote(a.dtype(), b.dtype()),
            (Operand::Tensor(t), Operand::Number(n)) | (Operand::Number(n), Operand::Tensor(t)) => {
                with_number(t.dtype(), *n)
            }
            (Operand::Number(Number::Int(_)), Operand::Number(Number::Int(_))) => DType::I64,
            _ => DType::F32,
        }
    }

    /// Returns the operand as a tensor of that dtype; a number becomes one without axes.
    pub fn tensor(&self, dtype: DType, like: &Operand) -> Result<Tensor> {
        match (self, like) {
            (Operand::Tensor(t), Operand::Tensor(near)) => dtype::convert(&device::on_device_of(t, near)?, dtype),
            (Operand::Tensor(t), Operand::Number(_)) => dtype::convert(t, dtype),
            (Operand::Number(n), Operand::Tensor(near)) => scalar(*n, dtype, near.device()),
            (Operand::Number(n), Operand::Number(_)) => scalar(*n, dtype, &Device::Cpu),
        }
    }
}

/// Returns the dtype of a tensor's operation with a number, which is weak: only a float with integers changes it, to
/// f32.
fn with_number(of: DType, number: Number) -> DType {
    match number {
        Number::Float(_) if !dtype::is_float(of) => DType::F32,
        _ => of,
    }
}

/// Builds a tensor without axes.
pub(super) fn scalar(value: Number, to: DType, device: &Device) -> Result<Tensor> {
    match value {
        // Through i64, since a large integer is not exact in f64.
        Number::Int(int) if !dtype::is_float(to) => dtype::cast(&element::int_tensor(vec![int], &[], device)?, to),
        value => element::tensor(vec![value.as_f64()], &[], to, device),
    }
}

impl From<&Tensor> for Operand {
    fn from(t: &Tensor) -> Self {
        Operand::Tensor(t.clone())
    }
}

impl From<Tensor> for Operand {
    fn from(t: Tensor) -> Self {
        Operand::Tensor(t)
    }
}

impl<N: Into<Number>> From<N> for Operand {
    fn from(n: N) -> Self {
        Operand::Number(n.into())
    }
}
