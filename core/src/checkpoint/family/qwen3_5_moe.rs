//! Qwen 3.5 with experts, its text part (Qwen Team 2026): as Qwen 3.5, with routed experts and a shared one.

use super::prelude::*;
use super::{qwen2_moe, qwen3_5};

pub(super) const FAMILY: Family = Family {
    names: &[qwen3_5::NAMES, qwen2_moe::EXPERTS, llama_names::NAMES],
    ..Family::like_llama("qwen3_5_moe_text", read)
};

const COMMON: Common = Common {
    vocab: 248_320,
    d_model: ("hidden_size", 2048),
    layers: ("num_hidden_layers", 40),
    heads: ("num_attention_heads", 16),
    d_head: ("head_dim", Some(256)),
    // No layer has a plain MLP.
    d_mlp: ("moe_intermediate_size", Some(512)),
    context: ("max_position_embeddings", 32_768),
    ..Common::like_llama("qwen3_5_moe_text", Some(2))
};

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let experts = Experts {
        count: keys.size("num_experts", 256)?,
        chosen: keys.size("num_experts_per_tok", 8)?,
        d_mlp: config.d_mlp,
        renormalised: true,
        shared: Some(keys.size("shared_expert_intermediate_size", 512)?),
        plain: Vec::new(),
        ..Experts::default()
    };
    qwen3_5::mixing(keys, Config { experts: Some(experts), ..config })
}
