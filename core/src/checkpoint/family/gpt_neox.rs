//! GPT-NeoX (Black et al. 2022) and Pythia: parallel attention and MLP, queries, keys and values fused by head.

use super::prelude::*;

pub(super) const FAMILY: Family = Family {
    name: "gpt_neox",
    read,
    names: &[NAMES],
    ignored: &[
        "gpt_neox.layers.*.attention.bias",
        "gpt_neox.layers.*.attention.masked_bias",
        "gpt_neox.layers.*.attention.rotary_emb.inv_freq",
    ],
};

const SIZES: Sizes = Sizes { vocab: 50432, d_model: 6144, layers: 44, heads: 64, d_mlp: 24576, context: 2048 };
const COMMON: Common = Common {
    act: ("hidden_act", "gelu"),
    bos: Some(0),
    eos: Some(2),
    ..Common::modern("gpt_neox", NormKind::Layer).sized(SIZES)
};

const ROPE: Rope = Rope {
    theta: &["rotary_emb_base", "rope_theta"],
    partial: &["rotary_pct", "partial_rotary_factor"],
    ..part_of_head(0.25)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("gpt_neox.embed_in")),
    ("blocks.*.attn_norm", Same("gpt_neox.layers.*.input_layernorm")),
    ("blocks.*.attn.qkv", OfEachHead("gpt_neox.layers.*.attention.query_key_value", QKV)),
    ("blocks.*.attn.o", Same("gpt_neox.layers.*.attention.dense")),
    ("blocks.*.mlp_norm", Same("gpt_neox.layers.*.post_attention_layernorm")),
    ("blocks.*.mlp.up", Same("gpt_neox.layers.*.mlp.dense_h_to_4h")),
    ("blocks.*.mlp.down", Same("gpt_neox.layers.*.mlp.dense_4h_to_h")),
    ("final_norm", Same("gpt_neox.final_layer_norm")),
    ("unembed", Same("embed_out")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let biases = keys.flag("attention_bias", true)?;
    let order = if keys.flag("use_parallel_residual", true)? { Order::Parallel } else { Order::Serial };
    ROPE.read(keys, Config { order, qkv_bias: biases, out_bias: biases, mlp_bias: true, ..config })
}
