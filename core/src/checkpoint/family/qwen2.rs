//! Qwen 2 and 2.5 (Yang et al. 2024): as llama, with biases of queries, keys and values.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("qwen2", read);

const COMMON: Common = sized("qwen2");

const SIZES: Sizes = Sizes { vocab: 151_936, d_model: 4096, layers: 32, heads: 32, d_mlp: 22016, context: 32768 };

/// Returns transformers' defaults for Qwen 2 and 3 alike.
pub(super) const fn sized(family: &'static str) -> Common {
    Common::like_llama(family, Some(32)).sized(SIZES)
}

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let windows = upper_windows(keys, config.layers)?;
    rope::WHOLE_HEAD.read(keys, Config { windows, gated: true, qkv_bias: true, ..config })
}

/// Reads the windows: where they are switched on, the layers from `max_window_layers` on have them.
pub(super) fn upper_windows(keys: &mut Keys, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = switched_window(keys, Some(4096))?;
    let first = keys.size("max_window_layers", 28)?;
    windows(keys, layers, window, |layer| layer >= first)
}
