//! Llama (Touvron et al. 2023), 1 to 3: RMS norms, rotary positions, a gated MLP, shared heads of keys and values.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family =
    Family { name: "llama", read, names: &[llama_names::MLP_NORM, llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = Common {
    vocab: 32000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(11008)),
    context: ("max_position_embeddings", 2048),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("llama", NormKind::Rms)
};

pub(super) fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let biases = keys.flag("attention_bias", false)?;
    let mlp_bias = keys.flag("mlp_bias", false)?;
    let config = Config { kv_heads, gated: true, qkv_bias: biases, out_bias: biases, mlp_bias, ..config };
    let config = with_head_size(config, keys.maybe_size("head_dim", None)?);
    rope::WHOLE_HEAD.read(keys, config)
}
