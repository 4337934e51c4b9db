//! SmolLM 3 (Bakouch et al. 2025): as llama, with layers that rotate nothing. SmolLM 1 and 2 are llamas.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("smollm3", read);

const SIZES: Sizes = Sizes { vocab: 128_256, d_model: 2048, layers: 36, heads: 16, d_mlp: 11008, context: 32768 };
const COMMON: Common = Common {
    tied: true,
    bos: Some(128_000),
    eos: Some(128_001),
    ..Common::like_llama("smollm3", Some(4)).sized(SIZES)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let biases = keys.flag("attention_bias", false)?;
    let mlp_bias = keys.flag("mlp_bias", false)?;
    // Published configs have it, and transformers reads nothing from it.
    keys.value("max_window_layers");
    let unrotated = unrotated(keys, config.layers)?;
    let window = switched_window(keys, None)?;
    let windows = windows(keys, config.layers, window, |layer| unrotated.contains(&layer))?;
    let config = Config { gated: true, qkv_bias: biases, out_bias: biases, mlp_bias, ..config };
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
