//! StableLM (Bellagente et al. 2024): as llama, with layer norms and partly rotated heads.

use super::common::{Common, kv_heads};
use super::keys::Keys;
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind, Order};

pub(super) const FAMILY: Family = Family {
    name: "stablelm",
    read,
    names: &[llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 50304,
    d_model: ("hidden_size", 2560),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(6912)),
    context: ("max_position_embeddings", 4096),
    bos: Some(0),
    eos: Some(0),
    ..Common::modern("stablelm", NormKind::Layer)
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("qk_layernorm", false)?;
    let order = if keys.flag("use_parallel_residual", false)? { Order::ParallelShared } else { Order::Serial };
    let kv_heads = kv_heads(keys, &config, Some(32))?;
    let qkv_bias = keys.flag("use_qkv_bias", false)?;
    rope::part_of_head(0.25).read(keys, Config { order, kv_heads, gated: true, qkv_bias, ..config })
}
