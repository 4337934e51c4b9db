//! MPT (MosaicML 2023): biases of scores by distance, no other biases, queries, keys and values fused.

use super::prelude::*;
use crate::model::config::Alibi;

pub(super) const FAMILY: Family = Family { name: "mpt", read, names: &[NAMES], ignored: &[] };

const COMMON: Common = Common {
    vocab: 50368,
    d_model: ("d_model", 2048),
    layers: ("n_layers", 24),
    heads: ("n_heads", 16),
    d_mlp: ("", None),
    context: ("max_seq_len", 2048),
    act: ("", "gelu"),
    eps: ("layer_norm_epsilon", 1e-5),
    tied: true,
    ..Common::modern("mpt", NormKind::Layer)
};

const NAMES: &[NameLine] = &[
    ("embed", Same("transformer.wte")),
    ("blocks.*.attn_norm", Same("transformer.blocks.*.norm_1")),
    ("blocks.*.attn.qkv", Rows("transformer.blocks.*.attn.Wqkv", QKV)),
    ("blocks.*.attn.o", Same("transformer.blocks.*.attn.out_proj")),
    ("blocks.*.mlp_norm", Same("transformer.blocks.*.norm_2")),
    ("blocks.*.mlp.up", Same("transformer.blocks.*.ffn.up_proj")),
    ("blocks.*.mlp.down", Same("transformer.blocks.*.ffn.down_proj")),
    ("final_norm", Same("transformer.norm_f")),
    ("unembed", Same("lm_head")),
];

/// Keys that say how a model was trained, and with which program it is run.
const OF_TRAINING: [&str; 6] =
    ["emb_pdrop", "embedding_fraction", "init_config", "init_device", "tokenizer_name", "verbose"];

/// Kinds of norms that compute a layer norm.
const LAYER_NORMS: [&str; 2] = ["low_precision_layernorm", "layernorm"];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("expansion_ratio", 4)?;
    keys.only("no_bias", true)?;
    keys.only("logit_scale", ())?;
    // Positions are learned only where scores have no biases.
    keys.flag("learned_pos_emb", true)?;
    if let Some(kind) = keys.word("norm_type")?.filter(|kind| !LAYER_NORMS.contains(kind)) {
        bail!(Format, "the norms `{kind}` of config key `norm_type` are not implemented");
    }
    keys.ignore(&OF_TRAINING);
    let mut most = 8.0;
    let mut score_scale = config.score_scale;
    if let Some(mut attention) = keys.nested("attn_config")? {
        attention.only("alibi", true)?;
        attention.only("attn_type", "multihead_attention")?;
        // Queries, keys and values within bounds are no linear maps.
        attention.only("clip_qkv", ())?;
        attention.only("qk_ln", false)?;
        attention.only("prefix_lm", false)?;
        attention.only("attn_uses_sequence_id", false)?;
        attention.word("attn_impl")?;
        most = attention.number("alibi_bias_max", most)?;
        score_scale = attention.maybe_number("softmax_scale", None)?.unwrap_or(score_scale);
        attention.finish(&[])?;
    }
    let config = Config { norm_bias: false, score_scale, ..config };
    Ok(with_alibi(config, Alibi { most, scaled: false, rounded: false }))
}
