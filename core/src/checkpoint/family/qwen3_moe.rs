//! Qwen 3 with experts (Yang et al. 2025): as Qwen 3, with some of many experts in place of MLPs.

use super::common::{Common, kv_heads, same_window, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, qwen2_moe, rope};
use crate::base::Result;
use crate::model::config::{Config, QkNorm};

pub(super) const FAMILY: Family = Family {
    name: "qwen3_moe",
    read,
    names: &[qwen2_moe::EXPERTS, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = qwen2_moe::sized("qwen3_moe", 32, 6144);

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(4))?;
    let stated = keys.maybe_size("sliding_window", Some(4096))?;
    let window = if keys.flag("use_sliding_window", false)? { stated } else { None };
    let windows = same_window(config.layers, window);
    // Published configs have it, and transformers reads nothing from it.
    keys.value("max_window_layers");
    let biases = keys.flag("attention_bias", false)?;
    let experts = qwen2_moe::experts(keys, &config, 128, 8, 768, None)?;
    let qk_norm = QkNorm::Head;
    let config =
        Config { kv_heads, gated: true, experts, windows, qkv_bias: biases, out_bias: biases, qk_norm, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    rope::WHOLE_HEAD.read(keys, config)
}
