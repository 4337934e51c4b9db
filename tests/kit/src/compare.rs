//! How far numbers are from expected ones: those of tensors, of lists and of JSON.
//!
//! Both have to have one shape. Two NaN and two equal infinities are no difference; where only one number is NaN, the
//! difference is NaN, so that no bound holds.

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

/// What has numbers in a shape.
pub trait Numbers {
    fn dims(&self) -> Vec<usize>;

    /// Appends all numbers.
    fn put(&self, all: &mut Vec<f64>);
}

impl Numbers for f64 {
    fn dims(&self) -> Vec<usize> {
        Vec::new()
    }

    fn put(&self, all: &mut Vec<f64>) {
        all.push(*self);
    }
}

impl Numbers for f32 {
    fn dims(&self) -> Vec<usize> {
        Vec::new()
    }

    fn put(&self, all: &mut Vec<f64>) {
        all.push(f64::from(*self));
    }
}

/// What is missing is NaN.
impl Numbers for Option<f64> {
    fn dims(&self) -> Vec<usize> {
        Vec::new()
    }

    fn put(&self, all: &mut Vec<f64>) {
        all.push(self.unwrap_or(f64::NAN));
    }
}

/// A number, or lists of them; null is NaN.
impl Numbers for Value {
    fn dims(&self) -> Vec<usize> {
        self.as_array().map_or_else(Vec::new, |list| list.as_slice().dims())
    }

    fn put(&self, all: &mut Vec<f64>) {
        match self {
            Self::Null => all.push(f64::NAN),
            Self::Array(list) => list.as_slice().put(all),
            other => all.push(other.as_f64().unwrap_or_else(|| panic!("expected a number, found {other}"))),
        }
    }
}

impl<T: Numbers> Numbers for [T] {
    fn dims(&self) -> Vec<usize> {
        let inner = self.first().map_or_else(Vec::new, Numbers::dims);
        [vec![self.len()], inner].concat()
    }

    fn put(&self, all: &mut Vec<f64>) {
        self.iter().for_each(|one| one.put(all));
    }
}

impl<T: Numbers, const N: usize> Numbers for [T; N] {
    fn dims(&self) -> Vec<usize> {
        self.as_slice().dims()
    }

    fn put(&self, all: &mut Vec<f64>) {
        self.as_slice().put(all);
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn dims(&self) -> Vec<usize> {
        self.as_slice().dims()
    }

    fn put(&self, all: &mut Vec<f64>) {
        self.as_slice().put(all);
    }
}

impl Numbers for Tensor {
    fn dims(&self) -> Vec<usize> {
        Self::dims(self).to_vec()
    }

    fn put(&self, all: &mut Vec<f64>) {
        let here = self.to_device(&Device::Cpu).unwrap();
        let numbers = here.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        all.extend(numbers.to_vec1::<f64>().unwrap());
    }
}

impl<T: Numbers + ?Sized> Numbers for &T {
    fn dims(&self) -> Vec<usize> {
        (**self).dims()
    }

    fn put(&self, all: &mut Vec<f64>) {
        (**self).put(all);
    }
}

fn numbers(of: &impl Numbers) -> Vec<f64> {
    let mut all = Vec::new();
    of.put(&mut all);
    all
}

/// Returns found and expected numbers, one of each.
#[track_caller]
fn pairs(found: &impl Numbers, expected: &impl Numbers) -> Vec<(f64, f64)> {
    assert_eq!(found.dims(), expected.dims(), "the shapes found and expected");
    let found = numbers(found);
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "how many are found and expected");
    found.into_iter().zip(expected).collect()
}

fn apart((found, expected): (f64, f64)) -> f64 {
    let is_same = found == expected || found.is_nan() && expected.is_nan();
    if is_same { 0.0 } else { (found - expected).abs() }
}

/// Returns the largest of numbers from 0 on; NaN where one is.
fn most(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |most, number| if most.is_nan() || most > number { most } else { number })
}

fn is_within(pair: (f64, f64), relative: f64, absolute: f64) -> bool {
    let apart = apart(pair);
    apart == 0.0 || apart.is_finite() && apart <= absolute + relative * pair.1.abs()
}

/// Returns the largest number in size, 0 of none.
pub fn largest(of: impl Numbers) -> f64 {
    most(numbers(&of).into_iter().map(f64::abs))
}

/// Returns the largest difference.
#[track_caller]
pub fn far(found: impl Numbers, expected: impl Numbers) -> f64 {
    most(pairs(&found, &expected).into_iter().map(apart))
}

/// Returns the largest difference as a share of the largest expected number.
#[track_caller]
pub fn far_relative(found: impl Numbers, expected: impl Numbers) -> f64 {
    far(&found, &expected) / largest(&expected)
}

/// Returns whether each number is within `absolute` and `relative` times the expected one.
#[track_caller]
pub fn within(found: impl Numbers, expected: impl Numbers, relative: f64, absolute: f64) -> bool {
    pairs(&found, &expected).into_iter().all(|pair| is_within(pair, relative, absolute))
}

/// Returns whether each number is within `tolerance` times 1 and the size of the expected one.
#[track_caller]
pub fn close(found: impl Numbers, expected: impl Numbers, tolerance: f64) -> bool {
    within(found, expected, tolerance, tolerance)
}

/// Asserts that no number is as far as `tolerance` from the expected one.
#[track_caller]
pub fn assert_near(found: impl Numbers, expected: impl Numbers, tolerance: f64) {
    for (at, pair) in pairs(&found, &expected).into_iter().enumerate() {
        let (found, expected) = pair;
        assert!(apart(pair) < tolerance, "number {at}: expected {expected} within {tolerance:e}, found {found}");
    }
}

/// Asserts what [`close`] returns.
#[track_caller]
pub fn assert_close(found: impl Numbers, expected: impl Numbers, tolerance: f64) {
    for (at, pair) in pairs(&found, &expected).into_iter().enumerate() {
        let (found, expected) = pair;
        let is_close = is_within(pair, tolerance, tolerance);
        assert!(is_close, "number {at}: expected {expected} within {tolerance:e} of 1 and itself, found {found}");
    }
}
