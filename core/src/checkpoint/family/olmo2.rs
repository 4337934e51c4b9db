//! OLMo 2 (Walsh et al. 2025): post-norms only, and norms of all queries and keys of a position together.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind, QkNorm};

pub(super) const FAMILY: Family =
    Family { name: "olmo2", read, names: &[llama_names::NAMES], ignored: llama_names::IGNORED };

pub(super) const COMMON: Common = Common {
    vocab: 50304,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(11008)),
    context: ("max_position_embeddings", 2048),
    eps: ("rms_norm_eps", 1e-5),
    eos: Some(50279),
    ..Common::modern("olmo2", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let config = Config { kv_heads, qkv_bias: biases, out_bias: biases, ..with_norms(config) };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    rope::WHOLE_HEAD.read(keys, config)
}

/// Adds what OLMo 2 and 3 have beyond llama.
pub(super) fn with_norms(config: Config) -> Config {
    Config { gated: true, pre_norm: false, post_norm: true, qk_norm: QkNorm::Whole, ..config }
}
