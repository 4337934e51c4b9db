//! One weight of a model: numbers, or a matrix that stays quantised while it computes.

use kernels::{Activation, Packed};

use crate::base::Result;
use crate::tensor::{DType, Device, Tensor};

#[derive(Debug, Clone)]
pub enum Weight {
    Numbers(Tensor),
    Packed(Packed),
}

impl From<Tensor> for Weight {
    fn from(numbers: Tensor) -> Self {
        Self::Numbers(numbers)
    }
}

impl Weight {
    /// All of its numbers; those of a quantised matrix in f32, which takes up to eight times its memory.
    pub fn tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.clone(),
            Self::Packed(packed) => packed.tensor()?,
        })
    }

    /// The same in f32.
    pub fn floats(&self) -> Result<Tensor> {
        Ok(self.tensor()?.to_dtype(DType::F32)?)
    }

    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Numbers(numbers) => numbers.dims().to_vec(),
            Self::Packed(packed) => packed.dims().to_vec(),
        }
    }

    /// The dtype that it computes in.
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

    /// The bytes that it takes in memory, or in the file that it is mapped from.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.elem_count() * numbers.dtype().size_in_bytes(),
            Self::Packed(packed) => packed.bytes(),
        }
    }

    /// Whether gradients of it are recorded.
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

    /// One row of a matrix.
    pub fn row(&self, row: usize) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.get(row)?,
            Self::Packed(packed) => packed.rows(row, 1)?.tensor()?.squeeze(0)?,
        })
    }

    /// The rows of these ids.
    pub fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => kernels::look_up(numbers, ids)?,
            Self::Packed(packed) => packed.look_up(ids)?,
        })
    }

    /// act(x W^T + b).
    pub fn map(&self, x: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Tensor> {
        Ok(match (self, act) {
            (Self::Numbers(weight), Some(act)) => kernels::linear_activated(x, weight, bias, act)?,
            (Self::Numbers(weight), None) => kernels::linear(x, weight, bias)?,
            (Self::Packed(weight), act) => kernels::linear_packed(x, weight, bias, act)?,
        })
    }
}
