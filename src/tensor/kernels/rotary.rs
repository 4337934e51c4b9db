//! Rotary positions: pairs of coordinates turn by an angle that grows with the position.

use candle_core::{DType, Device, Tensor};

use super::attention::Gap;
use crate::base::Result;

/// Cosines and sines of every position and pair, `[positions, dims / 2]` in f32.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub cos: Tensor,
    pub sin: Tensor,
    /// Whether pairs are neighbours and not the two halves.
    pub neighbours: bool,
}

impl Rotation {
    /// The table for `positions` positions: angle = position * frequency, in f32 as the published models have it.
    pub fn new(frequencies: &[f32], positions: usize, neighbours: bool, device: &Device) -> Result<Self> {
        let angles = Tensor::arange(0, positions as u32, device)?
            .to_dtype(DType::F32)?
            .reshape((positions, 1))?
            .matmul(&Tensor::from_slice(frequencies, (1, frequencies.len()), device)?)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, neighbours })
    }
}

/// Turns the first coordinates of every head of x `[rows, columns, heads, d_head]`. Column c of the tensor stands at
/// column `past + c` of the text, and `gap` tells which position that is.
pub fn rotate(x: &Tensor, rotation: &Rotation, past: usize, gap: Option<&Gap>) -> Result<Tensor> {
    let (rows, columns, heads, size) = x.dims4()?;
    let half = rotation.cos.dim(1)?;
    let table = |table: &Tensor| -> Result<Tensor> {
        Ok(match gap {
            None => table.narrow(0, past, columns)?.reshape((1, columns, 1, half))?,
            Some(gap) => {
                let places: Vec<u32> = (0..rows)
                    .flat_map(|row| (past..past + columns).map(move |column| gap.position(row, column) as u32))
                    .collect();
                let places = Tensor::from_vec(places, rows * columns, x.device())?;
                table.index_select(&places, 0)?.reshape((rows, columns, 1, half))?
            }
        }
        .to_dtype(x.dtype())?)
    };
    let (cos, sin) = (table(&rotation.cos)?, table(&rotation.sin)?);
    let turning = x.narrow(3, 0, 2 * half)?;
    let (a, b) = if rotation.neighbours {
        let pairs = turning.reshape((rows, columns, heads, half, 2))?;
        (pairs.narrow(4, 0, 1)?.squeeze(4)?, pairs.narrow(4, 1, 1)?.squeeze(4)?)
    } else {
        (turning.narrow(3, 0, half)?, turning.narrow(3, half, half)?)
    };
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let turned = if rotation.neighbours {
        Tensor::stack(&[first, second], 4)?.reshape((rows, columns, heads, 2 * half))?
    } else {
        Tensor::cat(&[first, second], 3)?
    };
    if 2 * half == size {
        return Ok(turned);
    }
    Ok(Tensor::cat(&[turned, x.narrow(3, 2 * half, size - 2 * half)?], 3)?)
}
