//! Qwen 3 with experts (Yang et al. 2025): as Qwen 3, with some of many experts in place of MLPs.

use super::prelude::*;
use super::qwen2_moe;

pub(super) const FAMILY: Family =
    Family { names: &[qwen2_moe::EXPERTS, llama_names::NAMES], ..Family::like_llama("qwen3_moe", read) };

const COMMON: Common = qwen2_moe::sized("qwen3_moe", [32, 4], 6144);

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let windows = same_window(config.layers, switched_window(keys, Some(4096))?);
    // Published configs have it, and transformers reads nothing from it.
    keys.value("max_window_layers");
    let biases = keys.flag("attention_bias", false)?;
    let experts = qwen2_moe::experts(keys, &config, 128, 8, 768, None)?;
    let qk_norm = QkNorm::Head;
    let config = Config { gated: true, experts, windows, qkv_bias: biases, out_bias: biases, qk_norm, ..config };
    rope::WHOLE_HEAD.read(keys, config)
}
