//! Phi 3 and 4 (Abdin et al. 2024): as llama, with fused matrices in the file.

use super::common::{Common, kv_heads, same_window, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::{Family, llama_names, rope};
use crate::bail;
use crate::base::Result;
use crate::model::config::{Config, NormKind, Scaling};

pub(super) const FAMILY: Family = Family {
    name: "phi3",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 32064,
    d_model: ("hidden_size", 3072),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(8192)),
    context: ("max_position_embeddings", 4096),
    eps: ("rms_norm_eps", 1e-5),
    bos: Some(1),
    eos: Some(32000),
    ..Common::modern("phi3", NormKind::Rms)
};

const QKV: &[&str] = &["blocks.*.attn.q", "blocks.*.attn.k", "blocks.*.attn.v"];
const GATE_UP: &[&str] = &["blocks.*.mlp.gate", "blocks.*.mlp.up"];

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q", Rows("model.layers.*.self_attn.qkv_proj", QKV)),
    ("blocks.*.attn.k", Rows("model.layers.*.self_attn.qkv_proj", QKV)),
    ("blocks.*.attn.v", Rows("model.layers.*.self_attn.qkv_proj", QKV)),
    ("blocks.*.mlp.gate", Rows("model.layers.*.mlp.gate_up_proj", GATE_UP)),
    ("blocks.*.mlp.up", Rows("model.layers.*.mlp.gate_up_proj", GATE_UP)),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("attention_bias", false)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let windows = same_window(config.layers, keys.maybe_size("sliding_window", None)?);
    let config =
        with_head_size(Config { kv_heads, gated: true, windows, ..config }, keys.maybe_size("head_dim", None)?);
    let config = rope::part_of_head(1.0).read(keys, config)?;
    if config.rotary.as_ref().is_some_and(|rotary| rotary.scaling != Scaling::None) {
        bail!(Format, "scaled rotary positions are not implemented for phi3");
    }
    Ok(config)
}
