//! Qwen 3 (Yang et al. 2025): as llama, with norms of queries and keys, head by head.

use super::prelude::*;
use super::qwen2;

pub(super) const FAMILY: Family = Family::like_llama("qwen3", read);

const COMMON: Common = Common { d_head: ("head_dim", Some(128)), ..qwen2::sized("qwen3") };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let windows = qwen2::upper_windows(keys, config.layers)?;
    let biases = keys.flag("attention_bias", false)?;
    let qk_norm = QkNorm::Head;
    let config = Config { windows, gated: true, qkv_bias: biases, out_bias: biases, qk_norm, ..config };
    rope::WHOLE_HEAD.read(keys, config)
}
