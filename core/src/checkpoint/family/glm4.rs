//! GLM-4-0414 (GLM Team 2025): as llama, with norms on both sides of attention and MLP, and adjacent coordinates of a
//! part of each head rotated together.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::rope::{Rope, part_of_head};
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{Config, NormKind};

pub(super) const FAMILY: Family = Family {
    name: "glm4",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 151_552,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 40),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(13696)),
    context: ("max_position_embeddings", 131_072),
    eps: ("rms_norm_eps", 0.000_000_156_25),
    ..Common::modern("glm4", NormKind::Rms)
};

const GATE_UP: &str = "model.layers.*.mlp.gate_up_proj";
const PARTS: &[&str] = &["blocks.*.mlp.gate", "blocks.*.mlp.up"];

const NAMES: &[NameLine] = &[
    ("blocks.*.attn_post_norm", Same("model.layers.*.post_self_attn_layernorm")),
    ("blocks.*.mlp.gate", Rows(GATE_UP, PARTS)),
    ("blocks.*.mlp.up", Rows(GATE_UP, PARTS)),
    ("blocks.*.mlp_post_norm", Same("model.layers.*.post_mlp_layernorm")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let mut config = COMMON.read(keys)?;
    if config.eos.is_empty() {
        config.eos = vec![151_329, 151_336, 151_338];
    }
    let kv_heads = kv_heads(keys, &config, Some(2))?;
    let qkv_bias = keys.flag("attention_bias", true)?;
    let config = Config { kv_heads, gated: true, post_norm: true, qkv_bias, ..config };
    let config = with_head_size(config, Some(keys.size("head_dim", 128)?));
    Rope { neighbours: true, ..part_of_head(0.5) }.read(keys, config)
}
