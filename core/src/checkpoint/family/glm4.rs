//! GLM-4-0414 (GLM Team 2025): as llama, with norms on both sides of attention and MLP, and adjacent coordinates of a
//! part of each head rotated together.

use super::prelude::*;

pub(super) const FAMILY: Family = Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("glm4", read) };

const SIZES: Sizes = Sizes { vocab: 151_552, d_model: 4096, layers: 40, heads: 32, d_mlp: 13696, context: 131_072 };
const COMMON: Common = Common {
    d_head: ("head_dim", Some(128)),
    eps: ("rms_norm_eps", 0.000_000_156_25),
    ..Common::like_llama("glm4", Some(2)).sized(SIZES)
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn_post_norm", Same("model.layers.*.post_self_attn_layernorm")),
    ("blocks.*.mlp.gate_up", Rows("model.layers.*.mlp.gate_up_proj", GATE_UP)),
    ("blocks.*.mlp_post_norm", Same("model.layers.*.post_mlp_layernorm")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let mut config = COMMON.read(keys)?;
    if config.eos.is_empty() {
        config.eos = vec![151_329, 151_336, 151_338];
    }
    let qkv_bias = keys.flag("attention_bias", true)?;
    let config = Config { gated: true, post_norm: true, qkv_bias, ..config };
    Rope { neighbours: true, ..part_of_head(0.5) }.read(keys, config)
}
