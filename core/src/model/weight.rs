//! One weight of a model: numbers, a matrix that stays quantised while it computes, or either with low-rank matrices beside
//! it.

use kernels::{Activation, PackedMatrix};

use crate::base::Result;
use crate::tensor::{DType, Device, Tensor};

#[derive(Debug, Clone)]
pub enum Weight {
    Numbers(Tensor),
    Packed(PackedMatrix),
    Adapted(Box<AdaptedWeight>),
}

/// A matrix W `[out, in]` with two low-rank ones beside it: W + scale * up down (Hu et al. 2022).
#[derive(Debug, Clone)]
pub struct AdaptedWeight {
    pub base: Weight,
    /// The matrix that reads the input, `[rank, in]`.
    pub down: Tensor,
    /// The matrix that writes the output, `[out, rank]`.
    pub up: Tensor,
    pub scale: f64,
}

impl From<Tensor> for Weight {
    fn from(numbers: Tensor) -> Self {
        Self::Numbers(numbers)
    }
}

impl Weight {
    /// Returns all numbers of the weight; those of a quantised matrix in f32, which takes up to eight times its memory.
    /// Low-rank matrices beside a weight are merged into it.
    pub fn tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.clone(),
            Self::Packed(packed) => packed.tensor()?,
            Self::Adapted(adapted) => adapted.merged()?,
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
            Self::Adapted(adapted) => adapted.base.dims(),
        }
    }

    /// Returns the dtype in which the weight computes.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Numbers(numbers) => numbers.dtype(),
            Self::Packed(_) => DType::F32,
            Self::Adapted(adapted) => adapted.base.dtype(),
        }
    }

    pub fn device(&self) -> &Device {
        match self {
            Self::Numbers(numbers) => numbers.device(),
            Self::Packed(_) => &Device::Cpu,
            Self::Adapted(adapted) => adapted.base.device(),
        }
    }

    /// Returns the bytes that the weight takes in memory, or in the file that it is mapped from.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.elem_count() * numbers.dtype().size_in_bytes(),
            Self::Packed(packed) => packed.bytes(),
            Self::Adapted(adapted) => {
                let beside = [&adapted.down, &adapted.up].map(|t| t.elem_count() * t.dtype().size_in_bytes());
                adapted.base.bytes() + beside.iter().sum::<usize>()
            }
        }
    }

    /// Returns the quantised matrix, if the weight is one, or has low-rank matrices beside one.
    pub fn packed(&self) -> Option<&PackedMatrix> {
        match self {
            Self::Numbers(_) => None,
            Self::Packed(packed) => Some(packed),
            Self::Adapted(adapted) => adapted.base.packed(),
        }
    }

    /// Returns whether gradients of the weight are recorded.
    pub fn tracks(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.track_op(),
            Self::Packed(_) => false,
            Self::Adapted(adapted) => adapted.base.tracks() || adapted.down.track_op() || adapted.up.track_op(),
        }
    }

    /// Rows `start..start + count`.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        Ok(match self {
            Self::Numbers(numbers) => Self::Numbers(numbers.narrow(0, start, count)?),
            Self::Packed(packed) => Self::Packed(packed.rows(start, count)?),
            Self::Adapted(adapted) => Self::Adapted(Box::new(AdaptedWeight {
                base: adapted.base.rows(start, count)?,
                up: adapted.up.narrow(0, start, count)?,
                ..adapted.as_ref().clone()
            })),
        })
    }

    /// Returns one row of a matrix.
    pub fn row(&self, row: usize) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => numbers.get(row)?,
            Self::Packed(packed) => packed.rows(row, 1)?.tensor()?.squeeze(0)?,
            Self::Adapted(_) => self.rows(row, 1)?.tensor()?.squeeze(0)?,
        })
    }

    /// Returns the rows of these ids.
    pub fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Numbers(numbers) => kernels::look_up(numbers, ids)?,
            Self::Packed(packed) => packed.look_up(ids)?,
            Self::Adapted(adapted) => adapted.look_up(ids)?,
        })
    }

    /// Computes act(x W^T + b).
    pub fn map(&self, x: &Tensor, bias: Option<&Tensor>, act: Option<Activation>) -> Result<Tensor> {
        Ok(match (self, act) {
            (Self::Numbers(weight), Some(act)) => kernels::linear_activated(x, weight, bias, act)?,
            (Self::Numbers(weight), None) => kernels::linear(x, weight, bias)?,
            (Self::Packed(weight), act) => kernels::linear_packed(x, weight, bias, act)?,
            (Self::Adapted(adapted), Some(act)) => kernels::activate(&adapted.map(x, bias)?, act)?,
            (Self::Adapted(adapted), None) => adapted.map(x, bias)?,
        })
    }
}

impl AdaptedWeight {
    /// Computes W + scale * up down, in f32 for narrower weights, and rounded to their dtype.
    fn merged(&self) -> Result<Tensor> {
        let base = self.base.tensor()?;
        let wide = if base.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let product = self.up.to_dtype(wide)?.matmul(&self.down.to_dtype(wide)?)?;
        Ok((base.to_dtype(wide)? + (product * self.scale)?)?.to_dtype(base.dtype())?)
    }

    fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        let rows = (kernels::look_up(&self.up, ids)? * self.scale)?;
        Ok(kernels::add(&self.base.look_up(ids)?, &rows.matmul(&self.down)?)?)
    }

    /// Computes x W^T + b + scale * (x down^T) up^T: no matrix of the size of W is made.
    fn map(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let read = (kernels::linear(x, &self.down, None)? * self.scale)?;
        Ok(kernels::add(&self.base.map(x, bias, None)?, &kernels::linear(&read, &self.up, None)?)?)
    }
}
