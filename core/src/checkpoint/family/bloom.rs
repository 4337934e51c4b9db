//! Bloom (BigScience 2022): biases of scores by distance, a norm of embeddings, queries, keys and values fused by head.

use super::prelude::*;
use crate::model::config::Alibi;

pub(super) const FAMILY: Family = Family { name: "bloom", read, names: &[NAMES], ignored: &[] };

const COMMON: Common = Common {
    vocab: 250_880,
    d_model: ("hidden_size", 64),
    layers: ("n_layer", 2),
    heads: ("n_head", 8),
    d_mlp: ("", None),
    context: ("seq_length", 2048),
    act: ("", "gelu_new"),
    eps: ("layer_norm_epsilon", 1e-5),
    tied: true,
    bos: Some(1),
    eos: Some(2),
    ..Common::modern("bloom", NormKind::Layer)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("transformer.word_embeddings")),
    ("embed_norm", Same("transformer.word_embeddings_layernorm")),
    ("blocks.*.attn_norm", Same("transformer.h.*.input_layernorm")),
    ("blocks.*.attn.qkv", OfEachHead("transformer.h.*.self_attention.query_key_value", QKV)),
    ("blocks.*.attn.o", Same("transformer.h.*.self_attention.dense")),
    ("blocks.*.mlp_norm", Same("transformer.h.*.post_attention_layernorm")),
    ("blocks.*.mlp.up", Same("transformer.h.*.mlp.dense_h_to_4h")),
    ("blocks.*.mlp.down", Same("transformer.h.*.mlp.dense_4h_to_h")),
    ("final_norm", Same("transformer.ln_f")),
    ("unembed", Same("lm_head")),
];

/// Keys of the program that trained the published models, which say how it computes and nothing about what.
const OF_TRAINING: [&str; 8] = [
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "masked_softmax_fusion",
    "offset_alibi",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "slow_but_exact",
    "use_fused_ops",
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = Common {
        d_model: (keys.either("hidden_size", "n_embed"), COMMON.d_model.1),
        layers: (keys.either("n_layer", "num_hidden_layers"), COMMON.layers.1),
        heads: (keys.either("n_head", "num_attention_heads"), COMMON.heads.1),
        ..COMMON
    }
    .read(keys)?;
    keys.only("n_layer", config.layers)?;
    keys.only("n_head", config.heads)?;
    keys.only("n_inner", config.d_mlp)?;
    keys.only("apply_residual_connection_post_layernorm", false)?;
    keys.ignore(&OF_TRAINING);
    let config = Config { embed_norm: true, qkv_bias: true, out_bias: true, mlp_bias: true, ..config };
    Ok(with_alibi(config, Alibi { most: 8.0, scaled: false, rounded: false }))
}
