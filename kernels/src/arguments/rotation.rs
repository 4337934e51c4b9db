//! The angles by which positions are rotated.

use candle_core::{DType, Device, Tensor};

use crate::base::error::Result;

/// Cosines and sines of every position and pair, `[positions, dims / 2]` in f32.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub cos: Tensor,
    pub sin: Tensor,
    /// Whether pairs are adjacent coordinates; otherwise they are in the two halves.
    pub neighbours: bool,
}

impl Rotation {
    /// Builds the table for `positions` positions: angle = position * frequency, in f32 as the published models have
    /// it.
    pub fn new(frequencies: &[f32], positions: usize, neighbours: bool, device: &Device) -> Result<Self> {
        let angles = Tensor::arange(0, positions as u32, device)?
            .to_dtype(DType::F32)?
            .reshape((positions, 1))?
            .matmul(&Tensor::from_slice(frequencies, (1, frequencies.len()), device)?)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, neighbours })
    }
}
