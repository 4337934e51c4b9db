//! Qwen 3 (Yang et al. 2025): as llama, with norms of queries and keys, head by head.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, qwen2, rope};
use crate::base::Result;
use crate::model::config::{Config, QkNorm};

pub(super) const FAMILY: Family =
    Family { name: "qwen3", read, names: &[llama_names::MLP_NORM, llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = qwen2::sized("qwen3");

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(32))?;
    let windows = qwen2::upper_windows(keys, config.layers)?;
    let biases = keys.flag("attention_bias", false)?;
    let qk_norm = QkNorm::Head;
    let config = Config { kv_heads, windows, gated: true, qkv_bias: biases, out_bias: biases, qk_norm, ..config };
    let config = with_head_size(config, Some(keys.size("head_dim", 128)?));
    rope::WHOLE_HEAD.read(keys, config)
}
