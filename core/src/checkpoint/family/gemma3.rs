//! Gemma 3, its text part (Kamath et al. 2025): norms of queries and keys, and another rotation in layers with a window.

use super::gemma2::{later, with_norms_and_caps};
use super::prelude::*;

pub(super) const FAMILY: Family =
    Family { names: &[llama_names::MLP_NORM_OF_FOUR, llama_names::NAMES], ..Family::like_llama("gemma3_text", read) };

const COMMON: Common = Common { vocab: 262_208, context: ("max_position_embeddings", 131_072), ..later("gemma3_text") };

/// Default interval of layers with global attention.
const PATTERN: usize = 6;

const ROTATIONS: TwoRotations = TwoRotations {
    whole: (Rope { default_theta: 1e6, ..WHOLE_HEAD }, "rope_theta"),
    local: (WHOLE_HEAD, "rope_local_base_freq"),
    scaled: true,
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let config = with_norms_and_caps(keys, config, None, None)?;
    let pattern = pattern(keys)?;
    let window = Some(keys.size("sliding_window", 4096)?);
    let windows = windows(keys, config.layers, window, |layer| (layer + 1) % pattern != 0)?;
    ROTATIONS.read(keys, Config { qk_norm: QkNorm::Head, windows, ..config })
}

fn pattern(keys: &mut Keys) -> Result<usize> {
    let old = keys.maybe_size("sliding_window_pattern", None)?;
    let new = keys.maybe_size("_sliding_window_pattern", None)?;
    match old.or(new).unwrap_or(PATTERN) {
        0 => Err(err!(Format, "expected `sliding_window_pattern` of at least 1, found 0")),
        pattern => Ok(pattern),
    }
}
