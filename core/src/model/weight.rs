//! One weight of a model: numbers, or a matrix that stays quantised while it computes.

use kernels::{Activation, PackedMatrix};

use crate::base::Result;
use crate::tensor::{DType, Device, Tensor};

#[derive(Debug, Clone)]
pub enum Weight {
    Numbers(Tensor),
    Packed(PackedMatrix),
}

impl From<Tensor> for Weight {
    fn from(numbers: Tensor) -> Self {
        Self::Numbers(numbers)
    }
}

impl Weight {
    /// Returns all numbers of the weight; those of a quantised matrix in f32, which takes up to eight times its memory.
    pub fn tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.clone(),
            Self::Packed(packed) => packed.tensor()?,
        })
    }

    /// Returns all numbers of the weight in f32.
    pub fn floats(&self) -> Result<Tensor> {
        Ok(self.tensor()?.to_dtype(DType::F32)?)
    }

    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Numbers(numbers) => numbers.dims().to_vec(),
            Self::Packed(packed) => packed.dims().to_vec(),
        }
    }

    /// Returns the dtype in which the weight computes.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Numbers(numbers) => numbers.dtype(),
            Self::Packed(_) => DType::F32,
        }
    }

    pub fn device(&self) -> &Device {
        match self {
            Self::Numbers(numbers) => numbers.device(),
            Self::Packed(_) => &Device::Cpu,
        }
    }

    /// Returns the bytes that the weight takes in memory, or in the file that it is mapped from.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.elem_count() * numbers.dtype().size_in_bytes(),
            Self::Packed(packed) => packed.bytes(),
        }
    }

    /// Returns whether gradients of the weight are recorded.
    pub fn tracks(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.track_op(),
            Self::Packed(_) => false,
        }
    }

    /// Rows `start..start + count`.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        Ok(match self {
            Self::Numbers(numbers) => Self::Numbers(numbers.narrow(0, start, count)?),
            Self::Packed(packed) => Self::Packed(packed.rows(start, count)?),
        })
    }

    /// Returns one row of a matrix.
    pub fn row(&self, row: usize) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.get(row)?,
            Self::Packed(packed) => packed.rows(row, 1)?.tensor()?.squeeze(0)?,
        })
    }

    /// Returns the rows of these ids.
    pub fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => kernels::look_up(numbers, ids)?,
            Self::Packed(packed) => packed.look_up(ids)?,
        })
    }

    /// Computes act(x W^T + b).
    pub fn map(&self, x: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Tensor> {
        Ok(match (self, act) {
            (Self::Numbers(weight), Some(act)) => kernels::linear_activated(x, weight, bias, act)?,
            (Self::Numbers(weight), None) => kernels::linear(x, weight, bias)?,
            (Self::Packed(weight), act) => kernels::linear_packed(x, weight, bias, act)?,
        })
    }
}
