//! Packing numbers into bf16, and into int8: 32 of a row share a scale, in the format that GGUF files call `Q8_0`.

use std::sync::Arc;

use half::f16;

use super::{PackedMatrix, Packing};
use crate::base::error::{Result, bail};
use crate::base::parallel;
use crate::linear::bf16;
use crate::numbers::{FlatNumbers, flat};

/// Numbers in a block, and its bytes.
const BLOCK: (usize, usize) = Packing::Q8_0.block();

/// The integer that the largest number of a block becomes.
const MOST: f32 = 127.0;

impl PackedMatrix {
    /// Packs a matrix `[out, in]` of finite numbers as int8; None if its rows are no whole blocks.
    ///
    /// Half precision has scales from 2^-24 to 65504, and those below 2^-14 with fewer bits. A matrix that asks for others has a
    /// power of two beside its blocks, which lifts or lowers all of them by so much that its largest number is near 2^20. So
    /// each number is within half a step of what it was, a step being a 127th of its block's largest number, and at most 2^-12
    /// of that more; in blocks whose largest number is below 2^-27 of the matrix's largest, half precision has fewer bits again.
    pub fn int8(matrix: &candle_core::Tensor) -> Result<Option<Self>> {
        let (rows, inner) = matrix.dims2()?;
        let Some(row) = Packing::Q8_0.row(inner).filter(|row| *row > 0) else { return Ok(None) };
        let flat = flat(matrix)?;
        let numbers = FlatNumbers::of(&flat)?;
        let numbers = finite(numbers.slice())?;
        crate::base::memory::check((rows * row) as u128, || "a matrix of int8".into())?;
        let (lift, lowered) = lift(numbers);
        let mut bytes = vec![0; rows * row];
        parallel::fill(&mut bytes, row, &|first, bytes| {
            let blocks = numbers[first / row * inner..][..inner].as_chunks::<{ BLOCK.0 }>().0;
            for (block, bytes) in blocks.iter().zip(bytes.as_chunks_mut::<{ BLOCK.1 }>().0) {
                pack(block, lift, bytes);
            }
        });
        let packed = Self::new(Packing::Q8_0, [rows, inner], Arc::new(bytes), 0);
        Ok(packed.map(|packed| Self { factor: lowered, ..packed }))
    }

    /// Rounds a matrix `[out, in]` of finite numbers to bf16. Products with it round what they read, too.
    pub fn bf16(matrix: &candle_core::Tensor) -> Result<Option<Self>> {
        let (rows, inner) = matrix.dims2()?;
        let flat = flat(matrix)?;
        let numbers = FlatNumbers::of(&flat)?;
        let numbers = finite(numbers.slice())?;
        let row = 2 * inner;
        crate::base::memory::check((rows * row) as u128, || "a matrix of bf16".into())?;
        let mut bytes = vec![0; rows * row];
        parallel::fill(&mut bytes, row.max(1), &|first, bytes| {
            for (place, x) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(&numbers[first / 2..]) {
                *place = (bf16::bits(*x) as u16).to_le_bytes();
            }
        });
        Ok(Self::new(Packing::Bf16, [rows, inner], Arc::new(bytes), 0).map(Self::rounded))
    }
}

/// Returns the numbers if all are finite.
fn finite(numbers: &[f32]) -> Result<&[f32]> {
    match numbers.iter().find(|x| !x.is_finite()) {
        None => Ok(numbers),
        Some(odd) => bail!(Argument, "expected finite numbers to quantise, found {odd}"),
    }
}

fn largest(block: &[f32; BLOCK.0]) -> f32 {
    block.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Returns the power of two that numbers are multiplied with before they are packed, and its reciprocal: 1 where half
/// precision has the scales of all blocks with all its bits.
fn lift(numbers: &[f32]) -> (f32, f32) {
    let blocks = numbers.as_chunks::<{ BLOCK.0 }>().0.iter().map(largest).filter(|largest| *largest > 0.0);
    let (least, most) = blocks.fold((f32::MAX, 0.0_f32), |(least, most), block| (least.min(block), most.max(block)));
    if most == 0.0 || least / MOST >= f16::MIN_POSITIVE.to_f32() && most / MOST <= f16::MAX.to_f32() {
        return (1.0, 1.0);
    }
    // Both the power and its reciprocal are normal numbers.
    let power = (20 - most.log2().floor() as i32).clamp(-126, 126);
    (2_f32.powi(power), 2_f32.powi(-power))
}

/// Packs a block, in which the largest number becomes [`MOST`].
fn pack(numbers: &[f32; BLOCK.0], lift: f32, bytes: &mut [u8; BLOCK.1]) {
    let numbers = numbers.map(|x| x * lift);
    let largest = largest(&numbers);
    let scale = f16::from_f32(largest / MOST);
    let scale = if scale == f16::ZERO && largest > 0.0 { f16::MIN_POSITIVE_SUBNORMAL } else { scale };
    bytes[..2].copy_from_slice(&scale.to_le_bytes());
    let by = if scale == f16::ZERO { 0.0 } else { scale.to_f32().recip() };
    for (byte, x) in bytes[2..].iter_mut().zip(numbers) {
        *byte = (x * by).round_ties_even().clamp(-MOST, MOST) as i8 as u8;
    }
}
