//! SmolLM 3 (Bakouch et al. 2025): as llama, with layers that rotate nothing. SmolLM 1 and 2 are llamas.

use super::common::{Common, kv_heads, windows, with_head_size};
use super::keys::Keys;
use super::rope::{Rope, WHOLE_HEAD};
use super::{Family, llama_names};
use crate::base::Result;
use crate::err;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "smollm3",
    read,
    names: &[llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 128_256,
    d_model: ("hidden_size", 2048),
    layers: ("num_hidden_layers", 36),
    heads: ("num_attention_heads", 16),
    d_mlp: ("intermediate_size", Some(11008)),
    context: ("max_position_embeddings", 32768),
    tied: true,
    bos: Some(128_000),
    eos: Some(128_001),
    ..Common::modern("smollm3", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(4))?;
    let biases = keys.flag("attention_bias", false)?;
    let mlp_bias = keys.flag("mlp_bias", false)?;
    // Published configs have it, and transformers reads nothing from it.
    keys.value("max_window_layers");
    let unrotated = unrotated(keys, config.layers)?;
    let stated = keys.maybe_size("sliding_window", None)?;
    let window = if keys.flag("use_sliding_window", false)? { stated } else { None };
    let windows = windows(keys, config.layers, window, |layer| unrotated.contains(&layer))?;
    let config = Config { kv_heads, gated: true, qkv_bias: biases, out_bias: biases, mlp_bias, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    Rope { default_theta: 2e6, ..WHOLE_HEAD }.read(keys, Config { unrotated, windows, ..config })
}

/// Reads the layers without rotary positions: those with a 0 in `no_rope_layers`, or one of every few.
fn unrotated(keys: &mut Keys, layers: usize) -> Result<Vec<usize>> {
    let interval = keys.size("no_rope_layer_interval", 4)?;
    let Some(rotated) = keys.sizes("no_rope_layers")? else {
        if interval == 0 {
            return Err(err!(Format, "expected `no_rope_layer_interval` of at least 1, found 0"));
        }
        return Ok((0..layers).filter(|layer| (layer + 1) % interval == 0).collect());
    };
    if rotated.len() < layers {
        return Err(err!(Format, "expected {layers} `no_rope_layers`, one for each layer, found {}", rotated.len()));
    }
    Ok((0..layers).filter(|layer| rotated[*layer] == 0).collect())
}
