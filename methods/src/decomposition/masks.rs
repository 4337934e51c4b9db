//! Masks of parts: m = g + (1 - g) r, where g is the causal importance, and the source r is drawn or chosen by an adversary
//! (Bushnaq et al. 2025, equation 3).

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::common::*;

/// The numbers r from 0 to 1 that masks of one matrix are made of.
#[derive(Debug, Clone)]
pub struct Sources {
    /// A mask for each part: `[inputs, parts]`, or `[1, parts]` for all inputs.
    pub parts: Tensor,
    /// A mask for the matrix less the sum of its parts, if that is masked, too: `[inputs]`, or `[1]`.
    pub delta: Option<Tensor>,
    /// Whether the matrix is masked at each input, or its own there: `[inputs, 1]`, in u8. None where it is masked at all of them.
    pub route: Option<Tensor>,
}

/// The masks of one matrix.
#[derive(Debug, Clone)]
pub struct Mask {
    /// The share of each part that stays: `[inputs, parts]`.
    pub parts: Tensor,
    /// The share of what is missing in the sum of the parts: `[inputs]`.
    pub delta: Option<Tensor>,
    /// Whether the matrix is masked at each input, or its own there: `[inputs, 1]`, in u8. None where it is masked at all of them.
    pub route: Option<Tensor>,
}

impl Sources {
    /// Draws sources, each uniform from 0 to 1.
    pub fn random(inputs: usize, parts: usize, with_delta: bool, random: &mut impl Rng) -> Result<Self> {
        let drawn = uniform(&[inputs, parts], random)?;
        let delta = with_delta.then(|| uniform(&[inputs], random)).transpose()?;
        Ok(Self { parts: drawn, delta, route: None })
    }

    pub fn on(&self, device: &Device) -> Result<Self> {
        let moved = |t: &Option<Tensor>| t.as_ref().map(|t| t.to_device(device)).transpose();
        Ok(Self { parts: self.parts.to_device(device)?, delta: moved(&self.delta)?, route: moved(&self.route)? })
    }

    /// Makes masks of the sources; `importance` is `[inputs, parts]`.
    pub fn masks(&self, importance: &Tensor) -> Result<Mask> {
        let rest = importance.affine(-1.0, 1.0)?;
        let parts = (importance + rest.broadcast_mul(&self.parts)?)?;
        let inputs = importance.dim(0)?;
        let delta = self.delta.as_ref().map(|delta| delta.broadcast_as(inputs)).transpose()?;
        Ok(Mask { parts, delta, route: self.route.clone() })
    }
}

/// Draws for each input how many matrices are masked there, any number from 1 to all being as likely, and which.
pub fn routed(sources: Vec<Sources>, inputs: usize, random: &mut impl Rng) -> Result<Vec<Sources>> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    let mut routes = vec![Vec::<u8>::with_capacity(inputs); sources.len()];
    for _ in 0..inputs {
        order.shuffle(random);
        let count = random.random_range(1..=order.len());
        let masked = &order[..count];
        for (matrix, route) in routes.iter_mut().enumerate() {
            route.push(masked.contains(&matrix).into());
        }
    }
    let one = |(sources, route): (Sources, Vec<u8>)| -> Result<Sources> {
        Ok(Sources { route: Some(Tensor::from_vec(route, (inputs, 1), &Device::Cpu)?), ..sources })
    };
    sources.into_iter().zip(routes).map(one).collect()
}

/// Moves the sources of all matrices to a device.
pub fn on(sources: &[Sources], device: &Device) -> Result<Vec<Sources>> {
    sources.iter().map(|sources| sources.on(device)).collect()
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
