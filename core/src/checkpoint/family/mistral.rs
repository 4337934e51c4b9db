//! Mistral (Jiang et al. 2023): as llama, with a sliding window in every layer of the first version.

use super::common::{Common, kv_heads, same_window, with_head_size};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "mistral",
    read,
    names: &[llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 32000,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(14336)),
    context: ("max_position_embeddings", 131_072),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("mistral", NormKind::Rms)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(8))?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", Some(4096))?);
    let config =
        with_head_size(Config { kv_heads, gated: true, windows, ..config }, keys.maybe_size("head_dim", None)?);
    rope::WHOLE_HEAD.read(keys, config)
}
