//! Qwen 2 and 2.5 (Yang et al. 2024): as llama, with biases of queries, keys and values.

use super::common::{Common, kv_heads, windows, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family =
    Family { name: "qwen2", read, names: &[llama_names::MLP_NORM, llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = sized("qwen2");

/// Returns transformers' defaults for Qwen 2 and 3 alike.
pub(super) const fn sized(family: &'static str) -> Common {
    Common {
        vocab: 151_936,
        d_model: ("hidden_size", 4096),
        layers: ("num_hidden_layers", 32),
        heads: ("num_attention_heads", 32),
        d_mlp: ("intermediate_size", Some(22016)),
        context: ("max_position_embeddings", 32768),
        ..Common::modern(family, NormKind::Rms)
    }
}

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(32))?;
    let windows = upper_windows(keys, config.layers)?;
    let config = Config { kv_heads, windows, gated: true, qkv_bias: true, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    rope::WHOLE_HEAD.read(keys, config)
}

/// Reads the windows: where they are switched on, the layers from `max_window_layers` on have them.
pub(super) fn upper_windows(keys: &mut Keys, layers: usize) -> Result<Vec<Option<usize>>> {
    let stated = keys.maybe_size("sliding_window", Some(4096))?;
    let window = if keys.flag("use_sliding_window", false)? { stated } else { None };
    let first = keys.size("max_window_layers", 28)?;
    windows(keys, layers, window, |layer| layer >= first)
}
