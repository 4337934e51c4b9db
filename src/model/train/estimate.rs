//! What a training will take, before its first step.

use std::time::Instant;

use super::recipe::Recipe;
use crate::base::Result;
use crate::model::config::Config;
use crate::tensor::{DType, Device, Tensor, kernels};

#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    pub parameters: u64,
    pub tokens: u64,
    /// Weights, gradients, both moments, and what one pass remembers for the way back.
    pub bytes: u128,
    pub seconds: f64,
}

impl Estimate {
    /// For steps of `width` tokens a row, of which `left` are still to be made.
    pub fn new(config: &Config, recipe: &Recipe, width: usize, left: u64, device: &Device) -> Result<Self> {
        let shapes = config.parameters()?;
        let parameters: u64 = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
        let per_pass = (recipe.rows * width) as u64;
        let tokens = left * recipe.accumulate as u64 * per_pass;
        let remembered = u128::from(per_pass) * numbers_per_token(config, width) as u128;
        let bytes = 4 * (4 * u128::from(parameters) + remembered);
        // The way back is two products for each one of the way there.
        let operations = 3.0 * tokens as f64 * operations_per_token(config, width);
        Ok(Self { parameters, tokens, bytes, seconds: operations / rate(config, device)? })
    }
}

/// Multiplications and additions of one token on the way there.
fn operations_per_token(config: &Config, width: usize) -> f64 {
    let (d, wide, narrow) = (config.d_model, config.heads * config.d_head, config.kv_heads * config.d_head);
    let maps = if config.gated { 3 } else { 2 };
    // A token meets half of the row on average, in the scores and in the mixture.
    let layer = 2 * d * (2 * wide + 2 * narrow) + 2 * maps * d * config.d_mlp + 2 * width * wide;
    (config.layers * layer + 2 * d * config.outputs()) as f64
}

/// Numbers of one token that the way back needs, and their gradients where they are alive together.
fn numbers_per_token(config: &Config, width: usize) -> usize {
    let (d, wide, narrow) = (config.d_model, config.heads * config.d_head, config.kv_heads * config.d_head);
    let maps = if config.gated { 3 } else { 2 };
    let layer = 8 * d + 3 * wide + 4 * narrow + maps * config.d_mlp + config.heads * width;
    config.layers * layer + 6 * d + 3 * config.outputs()
}

/// Operations a second of this machine in products of the model's own size.
fn rate(config: &Config, device: &Device) -> Result<f64> {
    let (rows, d, wide) = (1024, config.d_model, config.d_mlp.max(config.d_model));
    let x = Tensor::ones((rows, d), DType::F32, device)?;
    let weight = Tensor::ones((wide, d), DType::F32, device)?;
    kernels::linear(&x, &weight, None)?;
    let (begun, mut times) = (Instant::now(), 0);
    while times < 3 || begun.elapsed().as_secs_f64() < 0.01 {
        kernels::linear(&x, &weight, None)?;
        times += 1;
    }
    Ok(2.0 * (times * rows * d * wide) as f64 / begun.elapsed().as_secs_f64())
}
