//! OLMo 3 (OLMo Team 2025): as OLMo 2, with windows in most layers and a rotation of their own there.

use super::olmo2;
use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("olmo3", read);

const COMMON: Common = Common { family: "olmo3", ..olmo2::COMMON };

/// Default interval of layers that see the whole text.
const PATTERN: usize = 4;

/// Rotation in which transformers rounds the bounds of YaRN, whatever is stated.
const ROPE: Rope = Rope { default_theta: 5e5, rounded: true, ..WHOLE_HEAD };
const ROTATIONS: TwoRotations = TwoRotations { whole: (ROPE, "rope_theta"), local: (ROPE, "rope_theta"), scaled: true };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let biases = keys.flag("attention_bias", false)?;
    let window = Some(keys.size("sliding_window", 4096)?);
    let windows = windows(keys, config.layers, window, |layer| (layer + 1) % PATTERN != 0)?;
    let config = Config { qkv_bias: biases, out_bias: biases, windows, ..olmo2::with_norms(config) };
    ROTATIONS.read(keys, config)
}
