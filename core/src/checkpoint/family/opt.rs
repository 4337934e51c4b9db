//! OPT (Zhang et al. 2022): learned positions that begin at row 2, ReLU, biases everywhere.

use super::prelude::*;

pub(super) const FAMILY: Family = Family { name: "opt", read, names: &[NAMES], ignored: &[] };

const COMMON: Common = Common {
    vocab: 50272,
    d_model: ("hidden_size", 768),
    layers: ("num_hidden_layers", 12),
    heads: ("num_attention_heads", 12),
    d_mlp: ("ffn_dim", Some(3072)),
    context: ("max_position_embeddings", 2048),
    act: ("activation_function", "relu"),
    // No key: torch's default.
    eps: ("", 1e-5),
    tied: true,
    bos: Some(2),
    eos: Some(2),
    ..Common::modern("opt", NormKind::Layer)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("model.decoder.embed_tokens")),
    ("pos_embed", Same("model.decoder.embed_positions")),
    ("blocks.*.attn_norm", Same("model.decoder.layers.*.self_attn_layer_norm")),
    ("blocks.*.attn.q", Same("model.decoder.layers.*.self_attn.q_proj")),
    ("blocks.*.attn.k", Same("model.decoder.layers.*.self_attn.k_proj")),
    ("blocks.*.attn.v", Same("model.decoder.layers.*.self_attn.v_proj")),
    ("blocks.*.attn.o", Same("model.decoder.layers.*.self_attn.out_proj")),
    ("blocks.*.mlp_norm", Same("model.decoder.layers.*.final_layer_norm")),
    ("blocks.*.mlp.up", Same("model.decoder.layers.*.fc1")),
    ("blocks.*.mlp.down", Same("model.decoder.layers.*.fc2")),
    ("final_norm", Same("model.decoder.final_layer_norm")),
    ("unembed", Same("lm_head")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("do_layer_norm_before", true)?;
    keys.only("word_embed_proj_dim", config.d_model)?;
    let biases = keys.flag("enable_bias", true)?;
    let affine = keys.flag("layer_norm_elementwise_affine", true)?;
    Ok(Config {
        positions: Positions::Learned,
        position_offset: 2,
        norm_weight: affine,
        norm_bias: affine,
        final_norm: !keys.flag("_remove_final_layer_norm", false)?,
        qkv_bias: biases,
        out_bias: biases,
        mlp_bias: biases,
        ..config
    })
}
