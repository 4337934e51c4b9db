//! OLMo 2 (Walsh et al. 2025): post-norms only, and norms of all queries and keys of a position together.

use super::prelude::*;

pub(super) const FAMILY: Family = Family::like_llama("olmo2", read);

const SIZES: Sizes = Sizes { vocab: 50304, d_model: 4096, layers: 32, heads: 32, d_mlp: 11008, context: 2048 };
pub(super) const COMMON: Common =
    Common { eps: ("rms_norm_eps", 1e-5), eos: Some(50279), ..Common::like_llama("olmo2", None).sized(SIZES) };

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let biases = keys.flag("attention_bias", false)?;
    let config = Config { qkv_bias: biases, out_bias: biases, ..with_norms(config) };
    rope::WHOLE_HEAD.read(keys, config)
}

/// Adds what OLMo 2 and 3 have beyond llama.
pub(super) fn with_norms(config: Config) -> Config {
    Config { gated: true, pre_norm: false, post_norm: true, qk_norm: QkNorm::Whole, ..config }
}
