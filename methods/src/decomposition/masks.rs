//! Masks of parts: m = g + (1 - g) r, where g is the causal importance, and the source r is drawn or chosen by an adversary
//! (Bushnaq et al. 2025, equation 3).

use rand::Rng;

use crate::base::{Result, memory};
use crate::tensor::{DType, Device, Tensor};

/// The numbers r from 0 to 1 that masks of one matrix are made of.
#[derive(Debug, Clone)]
pub struct Sources {
    /// A mask for each part: `[inputs, parts]`, or `[1, parts]` for all inputs.
    pub parts: Tensor,
    /// A mask for the matrix less the sum of its parts, if that is masked, too: `[inputs]`, or `[1]`.
    pub delta: Option<Tensor>,
}

/// The masks of one matrix.
#[derive(Debug, Clone)]
pub struct Mask {
    /// The share of each part that stays: `[inputs, parts]`.
    pub parts: Tensor,
    /// The share of what is missing in the sum of the parts: `[inputs]`.
    pub delta: Option<Tensor>,
}

impl Sources {
    /// Draws sources, each uniform from 0 to 1.
    pub fn random(inputs: usize, parts: usize, with_delta: bool, random: &mut impl Rng) -> Result<Self> {
        let drawn = uniform(&[inputs, parts], random)?;
        let delta = with_delta.then(|| uniform(&[inputs], random)).transpose()?;
        Ok(Self { parts: drawn, delta })
    }

    pub fn on(&self, device: &Device) -> Result<Self> {
        let delta = self.delta.as_ref().map(|delta| delta.to_device(device)).transpose()?;
        Ok(Self { parts: self.parts.to_device(device)?, delta })
    }

    /// Makes masks of the sources; `importance` is `[inputs, parts]`.
    pub fn masks(&self, importance: &Tensor) -> Result<Mask> {
        let rest = importance.affine(-1.0, 1.0)?;
        let parts = (importance + rest.broadcast_mul(&self.parts)?)?;
        let inputs = importance.dim(0)?;
        let delta = self.delta.as_ref().map(|delta| delta.broadcast_as(inputs)).transpose()?;
        Ok(Mask { parts, delta })
    }
}

/// Draws numbers that are uniform from 0 to 1, in f32. They are made of 32 random bits each by candle's loops, which are fast
/// in unoptimised builds, too: a step draws hundreds of thousands.
pub fn uniform(dims: &[usize], random: &mut impl Rng) -> Result<Tensor> {
    let count = dims.iter().fold(1_u128, |all, dim| all.saturating_mul(*dim as u128));
    memory::check(count.saturating_mul(8), || format!("{count} random numbers"))?;
    let mut bits = vec![0; 4 * count as usize];
    random.fill_bytes(&mut bits);
    let drawn = Tensor::from_raw_buffer(&bits, DType::U32, dims, &Device::Cpu)?;
    Ok((drawn.to_dtype(DType::F32)? * 2f64.powi(-32))?)
}
