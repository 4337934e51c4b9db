//! Test fixture: tensors from numbers and back again.

use candle_core::{DType, Tensor};

use super::{create, element};

pub fn t(values: &[f64], dims: &[usize], dtype: DType) -> Tensor {
    create::from_floats(values.to_vec(), dims, dtype).unwrap()
}

pub fn f64s(t: &Tensor) -> Vec<f64> {
    element::floats(t).unwrap()
}
