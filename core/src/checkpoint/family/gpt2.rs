//! GPT-2 (Radford et al. 2019): learned positions, matrices stored as `[in, out]`, queries, keys and values fused.

use super::prelude::*;

pub(super) const FAMILY: Family = Family { name: "gpt2", read, names: &[NAMES, STREAM_NAMES], ignored: IGNORED };

const COMMON: Common = sized("gpt2");

/// Returns transformers' defaults for GPT-2 and those that follow it.
pub(super) const fn sized(family: &'static str) -> Common {
    Common {
        vocab: 50257,
        d_model: ("n_embd", 768),
        layers: ("n_layer", 12),
        heads: ("n_head", 12),
        d_mlp: ("n_inner", None),
        context: ("n_positions", 1024),
        act: ("activation_function", "gelu_new"),
        eps: ("layer_norm_epsilon", 1e-5),
        tied: true,
        bos: Some(50256),
        eos: Some(50256),
        ..Common::modern(family, NormKind::Layer)
    }
}

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.qkv", Columns("transformer.h.*.attn.c_attn", QKV)),
    ("blocks.*.attn.o", Transposed("transformer.h.*.attn.c_proj")),
    ("blocks.*.mlp.up", Transposed("transformer.h.*.mlp.c_fc")),
    ("blocks.*.mlp.down", Transposed("transformer.h.*.mlp.c_proj")),
];

/// Names outside of attention and MLPs, which the families after GPT-2 kept.
pub(super) const STREAM_NAMES: &[NameLine] = &[
    ("embed", Same("transformer.wte")),
    ("pos_embed", Same("transformer.wpe")),
    ("blocks.*.attn_norm", Same("transformer.h.*.ln_1")),
    ("blocks.*.mlp_norm", Same("transformer.h.*.ln_2")),
    ("final_norm", Same("transformer.ln_f")),
    ("unembed", Same("lm_head")),
];

/// Masks of attention that older files carry.
pub(super) const IGNORED: &[&str] = &["transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("n_ctx", config.context)?;
    let score_scale = if keys.flag("scale_attn_weights", true)? { config.score_scale } else { 1.0 };
    Ok(Config {
        positions: Positions::Learned,
        score_scale,
        score_scale_by_layer: keys.flag("scale_attn_by_inverse_layer_idx", false)?,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        ..config
    })
}
