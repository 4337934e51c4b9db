//! The names that llama introduced and most families after it kept.

use super::names::{NameLine, Theirs::*};

/// Names of all weights. The norm before the MLP is called the norm after attention, which is another one where attention and MLP
/// have norms on both sides.
pub const NAMES: &[NameLine] = &[
    ("embed", Same("model.embed_tokens")),
    ("blocks.*.attn_norm", Same("model.layers.*.input_layernorm")),
    ("blocks.*.attn.q", Same("model.layers.*.self_attn.q_proj")),
    ("blocks.*.attn.k", Same("model.layers.*.self_attn.k_proj")),
    ("blocks.*.attn.v", Same("model.layers.*.self_attn.v_proj")),
    ("blocks.*.attn.o", Same("model.layers.*.self_attn.o_proj")),
    ("blocks.*.attn.q_norm", Same("model.layers.*.self_attn.q_norm")),
    ("blocks.*.attn.k_norm", Same("model.layers.*.self_attn.k_norm")),
    ("blocks.*.attn_post_norm", Same("model.layers.*.post_attention_layernorm")),
    ("blocks.*.mlp_norm", Same("model.layers.*.post_attention_layernorm")),
    ("blocks.*.mlp.gate", Same("model.layers.*.mlp.gate_proj")),
    ("blocks.*.mlp.up", Same("model.layers.*.mlp.up_proj")),
    ("blocks.*.mlp.down", Same("model.layers.*.mlp.down_proj")),
    ("blocks.*.mlp_post_norm", Same("model.layers.*.post_feedforward_layernorm")),
    ("final_norm", Same("model.norm")),
    ("unembed", Same("lm_head")),
];

/// Name of the norm before the MLP where attention and MLP have norms on both sides.
pub const MLP_NORM_OF_FOUR: &[NameLine] = &[("blocks.*.mlp_norm", Same("model.layers.*.pre_feedforward_layernorm"))];

/// Tables of rotary positions that older files carry.
pub const IGNORED: &[&str] = &[FREQUENCIES];

pub const FREQUENCIES: &str = "model.layers.*.self_attn.rotary_emb.inv_freq";
