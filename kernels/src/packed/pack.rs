//! Packing numbers into int8: 32 of a row share a scale, in the format that GGUF files call `Q8_0`.

use std::sync::Arc;

use half::f16;

use super::{Packed, Packing};
use crate::error::bail;
use crate::numbers::{Numbers, flat};
use crate::{Result, parallel};

/// Numbers in a block, and its bytes.
const BLOCK: (usize, usize) = Packing::Q8_0.block();

impl Packed {
    /// A matrix `[out, in]` of finite numbers as int8; None if its rows are no whole blocks.
    pub fn int8(matrix: &candle_core::Tensor) -> Result<Option<Self>> {
        let (rows, inner) = matrix.dims2()?;
        let Some(row) = Packing::Q8_0.row(inner).filter(|row| *row > 0) else { return Ok(None) };
        let flat = flat(matrix)?;
        let numbers = Numbers::of(&flat)?;
        let numbers = numbers.slice();
        if let Some(odd) = numbers.iter().find(|x| !x.is_finite()) {
            bail!(Argument, "expected finite numbers to quantise, found {odd}");
        }
        crate::memory::check((rows * row) as u128, || "a matrix of int8".into())?;
        let mut bytes = vec![0; rows * row];
        parallel::fill(&mut bytes, row, &|first, bytes| {
            let blocks = numbers[first / row * inner..][..inner].as_chunks::<{ BLOCK.0 }>().0;
            for (block, bytes) in blocks.iter().zip(bytes.as_chunks_mut::<{ BLOCK.1 }>().0) {
                pack(block, bytes);
            }
        });
        Ok(Self::new(Packing::Q8_0, [rows, inner], Arc::new(bytes), 0))
    }
}

/// The largest number becomes 127. A scale that half precision cannot have is the largest that it has, or its smallest.
fn pack(numbers: &[f32; BLOCK.0], bytes: &mut [u8; BLOCK.1]) {
    let largest = numbers.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = f16::from_f32((largest / 127.0).min(f16::MAX.to_f32()));
    let scale = if scale == f16::ZERO && largest > 0.0 { f16::MIN_POSITIVE_SUBNORMAL } else { scale };
    bytes[..2].copy_from_slice(&scale.to_le_bytes());
    let by = if scale == f16::ZERO { 0.0 } else { scale.to_f32().recip() };
    for (byte, x) in bytes[2..].iter_mut().zip(numbers) {
        *byte = (x * by).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
    }
}
