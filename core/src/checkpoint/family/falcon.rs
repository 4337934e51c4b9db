//! Falcon (Almazrouei et al. 2023): one MLP beside attention or behind it, rotary positions or biases of scores, queries, keys
//! and values fused by group.

use super::prelude::*;
use crate::model::config::Alibi;

pub(super) const FAMILY: Family = Family { name: "falcon", read, names: &[NAMES], ignored: &[] };

const COMMON: Common = Common {
    vocab: 65024,
    d_model: ("hidden_size", 4544),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 71),
    d_mlp: ("ffn_hidden_size", None),
    context: ("max_position_embeddings", 2048),
    act: ("activation", "gelu"),
    eps: ("layer_norm_epsilon", 1e-5),
    tied: true,
    bos: Some(11),
    eos: Some(11),
    ..Common::modern("falcon", NormKind::Layer)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("transformer.word_embeddings")),
    ("blocks.*.attn_norm", ByOrder { parallel: "transformer.h.*.ln_attn", other: "transformer.h.*.input_layernorm" }),
    ("blocks.*.attn.qkv", OfEachGroup("transformer.h.*.self_attention.query_key_value", QKV)),
    ("blocks.*.attn.o", Same("transformer.h.*.self_attention.dense")),
    (
        "blocks.*.mlp_norm",
        ByOrder { parallel: "transformer.h.*.ln_mlp", other: "transformer.h.*.post_attention_layernorm" },
    ),
    ("blocks.*.mlp.up", Same("transformer.h.*.mlp.dense_h_to_4h")),
    ("blocks.*.mlp.down", Same("transformer.h.*.mlp.dense_4h_to_h")),
    ("final_norm", Same("transformer.ln_f")),
    ("unembed", Same("lm_head")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let d_model = (keys.either("hidden_size", "n_embed"), COMMON.d_model.1);
    let config = Common { d_model, ..COMMON }.read(keys)?;
    keys.only("apply_residual_connection_post_layernorm", false)?;
    // The width of an MLP is stated by itself.
    keys.value("ff_factor");
    let grouped = keys.flag("new_decoder_architecture", false)?;
    let stated = keys.maybe_size("num_kv_heads", None)?;
    let shares = keys.flag("multi_query", true)?;
    let kv_heads = match (grouped, shares) {
        (true, _) => stated.unwrap_or(config.heads),
        (false, true) => 1,
        (false, false) => {
            keys.only("num_kv_heads", config.heads)?;
            config.heads
        }
    };
    let norms = keys.maybe_size("num_ln_in_parallel_attn", None)?;
    let order = match (grouped, keys.flag("parallel_attn", true)?, norms) {
        (true, true, None | Some(2)) => Order::Parallel,
        (true, true, Some(1)) | (false, true, None | Some(1)) => Order::ParallelShared,
        (false, false, None | Some(1)) => Order::Serial,
        (_, parallel, norms) => {
            let norms = norms.map_or_else(|| "null".to_string(), |norms| norms.to_string());
            bail!(
                Format,
                "`num_ln_in_parallel_attn` {norms} with `parallel_attn` {parallel} and `new_decoder_architecture` {grouped} \
                 is not implemented"
            );
        }
    };
    let biases = keys.flag("bias", false)?;
    let config = Config { kv_heads, order, qkv_bias: biases, out_bias: biases, mlp_bias: biases, ..config };
    // Configs of models without a rotation state one, too.
    let rotated = WHOLE_HEAD.read(keys, config.clone())?;
    let alibi = Alibi { most: 8.0, scaled: true, rounded: true };
    Ok(if keys.flag("alibi", false)? { with_alibi(config, alibi) } else { rotated })
}
