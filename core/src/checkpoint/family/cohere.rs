//! Cohere's Command R (Cohere 2024): attention and MLP share one layer norm without bias, adjacent coordinates are
//! rotated together, logits have a factor.

use super::common::{Common, kv_heads};
use super::keys::Keys;
use super::rope::{Rope, WHOLE_HEAD};
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{Config, NormKind, Order};

pub(super) const FAMILY: Family =
    Family { name: "cohere", read, names: &[llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = sized("cohere");

/// Returns transformers' defaults for Cohere 1 and 2 alike.
pub(super) const fn sized(family: &'static str) -> Common {
    Common {
        vocab: 256_000,
        d_model: ("hidden_size", 8192),
        layers: ("num_hidden_layers", 40),
        heads: ("num_attention_heads", 64),
        d_mlp: ("intermediate_size", Some(22528)),
        context: ("max_position_embeddings", 8192),
        tied: true,
        bos: Some(5),
        eos: Some(255_001),
        ..Common::modern(family, NormKind::Layer)
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
    let kv_heads = kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let scale = keys.number("logit_scale", 0.0625)?;
    let config = Config {
        kv_heads,
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
