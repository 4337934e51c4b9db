//! Phi 1 to 2 (Gunasekar et al. 2023): attention and MLP share one norm, a part of each head is rotated, biases
//! everywhere.

use super::common::{Common, kv_heads, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::{Family, llama_names, rope};
use crate::base::Result;
use crate::model::config::{Config, NormKind, Order};

pub(super) const FAMILY: Family =
    Family { name: "phi", read, names: &[NAMES, llama_names::NAMES], ignored: llama_names::IGNORED };

const COMMON: Common = Common {
    vocab: 51200,
    d_model: ("hidden_size", 2048),
    layers: ("num_hidden_layers", 24),
    heads: ("num_attention_heads", 32),
    d_mlp: ("intermediate_size", Some(8192)),
    context: ("max_position_embeddings", 2048),
    act: ("hidden_act", "gelu_new"),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("phi", NormKind::Layer)
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.o", Same("model.layers.*.self_attn.dense")),
    ("blocks.*.mlp.up", Same("model.layers.*.mlp.fc1")),
    ("blocks.*.mlp.down", Same("model.layers.*.mlp.fc2")),
    ("final_norm", Same("model.final_layernorm")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("qk_layernorm", false)?;
    let kv_heads = kv_heads(keys, &config, None)?;
    let config = with_head_size(Config { kv_heads, ..config }, keys.maybe_size("head_dim", None)?);
    let config = Config {
        order: Order::ParallelShared,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        unembed_bias: true,
        ..config
    };
    rope::part_of_head(0.5).read(keys, config)
}
