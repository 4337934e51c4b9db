//! Phi 1 to 2 (Gunasekar et al. 2023): attention and MLP share one norm, a part of each head is rotated, biases
//! everywhere.

use super::prelude::*;

pub(super) const FAMILY: Family = Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("phi", read) };

const SIZES: Sizes = Sizes { vocab: 51200, d_model: 2048, layers: 24, heads: 32, d_mlp: 8192, context: 2048 };
const COMMON: Common = Common {
    kv_heads: ("num_key_value_heads", None),
    d_head: ("head_dim", None),
    act: ("hidden_act", "gelu_new"),
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("phi", NormKind::Layer).sized(SIZES)
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
