//! Estimates of memory and time before the first step of a training.

use crate::base::Result;
use crate::model::adapter::AdapterParts;
use crate::model::config::{Config, StateSpaces, TimeMixing};

use super::recipe::Recipe;

#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    pub parameters: u64,
    /// Remaining tokens.
    pub tokens: u64,
    /// Trained weights, gradients, both moments, and the activations that the backward pass needs.
    pub bytes: u128,
    /// Duration by one measured pass; evaluation and checkpoints not counted.
    pub seconds: f64,
}

impl Estimate {
    /// Estimates the cost of `left` remaining steps with rows of `width` tokens; `pass` is the seconds of a forward and
    /// backward pass. Where an adapter is trained, its numbers are all that changes.
    pub fn new(
        config: &Config,
        adapter: Option<&AdapterParts>,
        recipe: &Recipe,
        width: usize,
        left: u64,
        pass: f64,
    ) -> Result<Self> {
        let (parameters, beside) = match adapter {
            Some(parts) => (parts.parameters() as u64, parts.numbers_per_token()?),
            None => {
                let shapes = config.parameters()?;
                (shapes.iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum(), 0)
            }
        };
        let passes = left.saturating_mul(recipe.accumulate as u64);
        let per_pass = (recipe.rows * width) as u64;
        let remembered = u128::from(per_pass) * (numbers_per_token(config) + beside) as u128;
        let bytes = 4 * (4 * u128::from(parameters) + remembered);
        Ok(Self { parameters, tokens: passes.saturating_mul(per_pass), bytes, seconds: passes as f64 * pass })
    }
}

/// Estimates the numbers per token that the backward pass needs: the inputs of every linear map and norm, and the
/// logits.
fn numbers_per_token(config: &Config) -> usize {
    let d = config.d_model;
    let maps = if config.gated { 3 } else { 2 };
    let of_layer = |layer: usize| {
        let size = config.d_head_of(layer);
        let wide = config.heads * size;
        let narrow = config.kv_heads_of(layer) * size;
        let latents = config.latent.as_ref().map_or(0, |latent| 2 * (latent.kv_rank + latent.q_rank.unwrap_or(0)));
        8 * d + 3 * wide + 4 * narrow + latents + maps * config.d_mlp_of(layer) + 3 * config.layer_inputs.unwrap_or(0)
    };
    let layers: usize = (0..config.layers).map(of_layer).sum();
    // What a delta net makes of a token is wider than what attention does: its norms of keys, and the systems of chunks.
    let delta = config.delta.as_ref().map_or(0, |delta| delta.layers.len() * 4 * delta.channels());
    // A state space keeps what its loop reads, and a copy of it.
    let of_ssm = |ssm: &StateSpaces| ssm.layers.len() * (10 * ssm.d_inner() + 6 * ssm.of_groups());
    let ssm = config.ssm.as_ref().map_or(0, of_ssm);
    // Time mixing keeps six mixtures, what its loop reads, and a copy of it.
    let of_rwkv = |rwkv: &TimeMixing| rwkv.layers.len() * (6 * d + 30 * rwkv.d_inner());
    let rwkv = config.rwkv.as_ref().map_or(0, of_rwkv);
    layers + delta + ssm + rwkv + 6 * d + 2 * config.outputs()
}
