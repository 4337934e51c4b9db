//! Cohere's Command R (Cohere 2024): attention and MLP share one layer norm without bias, adjacent coordinates are
//! rotated together, logits have a factor.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("cohere", read);

const COMMON: Common = sized("cohere");

const SIZES: Sizes = Sizes { vocab: 256_000, d_model: 8192, layers: 40, heads: 64, d_mlp: 22528, context: 8192 };

/// Returns transformers' defaults for Cohere 1 and 2 alike.
pub(super) const fn sized(family: &'static str) -> Common {
    Common {
        kv_heads: ("num_key_value_heads", None),
        tied: true,
        bos: Some(5),
        eos: Some(255_001),
        ..Common::modern(family, NormKind::Layer).sized(SIZES)
    }
}

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    parallel(keys, config, 5e5)
}

/// Reads what both have beyond the sizes. `theta`: the base of rotary positions by default.
pub(super) fn parallel(keys: &mut Keys, config: Config, theta: f64) -> Result<Config> {
    // A norm with a weight for each head.
    keys.only("use_qk_norm", false)?;
    // The context that published configs state beside the one that transformers reads.
    keys.value("model_max_length");
    let biases = keys.flag("attention_bias", false)?;
    let scale = keys.number("logit_scale", 0.0625)?;
    let config = Config {
        order: Order::ParallelShared,
        gated: true,
        norm_bias: false,
        qkv_bias: biases,
        out_bias: biases,
        logit_scale: (scale != 1.0).then_some(scale),
        ..config
    };
    Rope { default_theta: theta, neighbours: true, ..WHOLE_HEAD }.read(keys, config)
}
