//! RWKV-7 (Peng et al. 2025), as flash-linear-attention has it: time mixing in every layer, and MLPs that read the token
//! before, too.

use super::mamba::CONTEXT;
use super::prelude::*;
use super::{check, common};
use crate::model::config::{Activation, TimeMixing};

pub(super) const FAMILY: Family = Family { name: "rwkv7", read, names: &[NAMES], ignored: &[] };

const NAMES: &[NameLine] = &[
    ("embed", Same("model.embeddings")),
    ("embed_norm", Same("model.layers.0.pre_norm")),
    ("blocks.*.attn_norm", Same("model.layers.*.attn_norm")),
    ("blocks.*.rwkv.shift_r", Exact("model.layers.*.attn.x_r")),
    ("blocks.*.rwkv.shift_w", Exact("model.layers.*.attn.x_w")),
    ("blocks.*.rwkv.shift_k", Exact("model.layers.*.attn.x_k")),
    ("blocks.*.rwkv.shift_v", Exact("model.layers.*.attn.x_v")),
    ("blocks.*.rwkv.shift_a", Exact("model.layers.*.attn.x_a")),
    ("blocks.*.rwkv.shift_g", Exact("model.layers.*.attn.x_g")),
    ("blocks.*.rwkv.r", Same("model.layers.*.attn.r_proj")),
    ("blocks.*.rwkv.k", Same("model.layers.*.attn.k_proj")),
    ("blocks.*.rwkv.v", Same("model.layers.*.attn.v_proj")),
    ("blocks.*.rwkv.w_in", Same("model.layers.*.attn.w_lora.lora.0")),
    ("blocks.*.rwkv.w", Same("model.layers.*.attn.w_lora.lora.2")),
    ("blocks.*.rwkv.a_in", Same("model.layers.*.attn.a_lora.lora.0")),
    ("blocks.*.rwkv.a", Same("model.layers.*.attn.a_lora.lora.2")),
    ("blocks.*.rwkv.v_share_in", Same("model.layers.*.attn.v_lora.lora.0")),
    ("blocks.*.rwkv.v_share", Same("model.layers.*.attn.v_lora.lora.2")),
    ("blocks.*.rwkv.g_in", Same("model.layers.*.attn.g_lora.lora.0")),
    ("blocks.*.rwkv.g", Same("model.layers.*.attn.g_lora.lora.2")),
    ("blocks.*.rwkv.removal", Exact("model.layers.*.attn.k_k")),
    ("blocks.*.rwkv.replacement", Exact("model.layers.*.attn.k_a")),
    ("blocks.*.rwkv.bonus", Exact("model.layers.*.attn.r_k")),
    ("blocks.*.rwkv.norm", Same("model.layers.*.attn.g_norm")),
    ("blocks.*.rwkv.o", Same("model.layers.*.attn.o_proj")),
    ("blocks.*.mlp_norm", Same("model.layers.*.ffn_norm")),
    ("blocks.*.mlp.shift", Exact("model.layers.*.ffn.x_k")),
    ("blocks.*.mlp.up", Same("model.layers.*.ffn.key")),
    ("blocks.*.mlp.down", Same("model.layers.*.ffn.value")),
    ("final_norm", Same("model.norm")),
    ("unembed", Same("lm_head")),
];

/// Keys that say which of several loops compute, or what a training adds to the loss; and a context that bounds nothing.
const OF_A_TRAINING: [&str; 5] =
    ["attn_mode", "fuse_cross_entropy", "fuse_linear_cross_entropy", "max_position_embeddings", "use_l2warp"];

/// Widths of MLPs that are not stated are multiples of this.
const ROUNDED: usize = 32;

fn read(keys: &mut Keys) -> Result<Config> {
    let d_model = keys.size("hidden_size", 2048)?;
    let layers = keys.size("num_hidden_layers", 24)?;
    check::size("layers", layers, 0, check::MOST_LAYERS)?;
    keys.ignore(&OF_A_TRAINING);
    if keys.value("attn").is_some_and(|attn| !attn.is_null()) {
        return Err(err!(Format, "the config key `attn` asks for layers with attention, which are not implemented")
            .hint("RWKV-7 with time mixing in every layer is"));
    }
    keys.only("hidden_act", "sqrelu")?;
    let norm_eps = keys.number("norm_eps", 1e-5)?;
    let rwkv = time_mixing(keys, d_model, layers, norm_eps)?;
    let config = Config {
        layers,
        d_model,
        // No layer has heads of attention.
        heads: 1,
        kv_heads: 1,
        d_mlp: d_mlp(keys, d_model)?,
        vocab: keys.size("vocab_size", 32_000)?,
        context: CONTEXT,
        act: Activation::SquaredRelu,
        rwkv: Some(rwkv),
        norm: Some(NormKind::Layer),
        norm_eps,
        norm_bias: keys.flag("norm_bias", true)?,
        embed_norm: keys.flag("norm_first", true)?,
        tied: keys.flag("tie_word_embeddings", false)?,
        bos: keys.token("bos_token_id", Some(1))?,
        eos: keys.tokens("eos_token_id", Some(2))?,
        ..Config::plain("rwkv7")
    };
    Ok(common::with_head_size(config, None))
}

fn time_mixing(keys: &mut Keys, d_model: usize, layers: usize, norm_eps: f64) -> Result<TimeMixing> {
    let stated = keys.maybe_size("head_dim", Some(64))?;
    let heads = keys.maybe_size("num_heads", None)?;
    let d_head = stated.or_else(|| d_model.checked_div(heads?)).unwrap_or(0);
    let made = d_model.checked_div(d_head).unwrap_or(0);
    if d_head == 0 || made * d_head != d_model || heads.is_some_and(|heads| heads != made) {
        return Err(err!(
            Format,
            "expected `num_heads` times `head_dim` to be `hidden_size`, {d_model}, found {} and {d_head}",
            heads.map_or("none".into(), |heads| heads.to_string())
        ));
    }
    let is_model_wide = |width: &Value| width.as_u64() == Some(d_model as u64);
    let value_dim = keys.value("value_dim").filter(|found| !found.is_null());
    let is_known = value_dim.is_none_or(|found| match found.as_array() {
        Some(each) => each.len() == layers && each.iter().all(is_model_wide),
        None => is_model_wide(found),
    });
    if !is_known {
        let found = value_dim.cloned().unwrap_or_default();
        return Err(keys
            .wrong("value_dim", &format!("the width of the stream, {d_model}, in each of {layers} layers"), &found)
            .hint("values of another width are not implemented"));
    }
    // Ranks that are null follow from sizes, as in flash-linear-attention.
    let factor = d_head as f64 / 64.0;
    let rank = |times: f64| {
        let wanted = (times * (d_model as f64).sqrt() / ROUNDED as f64).round_ties_even();
        (wanted as usize).saturating_mul(ROUNDED).max(ROUNDED)
    };
    // Kernels add a small number to the squared length, and torch bounds the length from below, by 1e-12.
    let key_eps = if keys.flag("fuse_norm", true)? { 1e-6 } else { 1e-24 };
    Ok(TimeMixing {
        layers: (0..layers).collect(),
        heads: made,
        d_head,
        decay_rank: keys.maybe_size("decay_low_rank_dim", Some(64))?.unwrap_or_else(|| rank(2.5 * factor)),
        rate_rank: keys.maybe_size("a_low_rank_dim", Some(64))?.unwrap_or_else(|| rank(2.5 * factor)),
        value_rank: keys.maybe_size("v_low_rank_dim", Some(16))?.unwrap_or_else(|| rank(1.7 * factor)),
        gate_rank: keys.maybe_size("gate_low_rank_dim", Some(128))?.unwrap_or_else(|| rank(5.0)),
        norm_eps: d_head as f64 * norm_eps,
        key_eps,
    })
}

/// Reads the width of MLPs: by default four times that of the stream, rounded up.
fn d_mlp(keys: &mut Keys, d_model: usize) -> Result<usize> {
    let ratio = keys.maybe_number("hidden_ratio", Some(4.0))?.unwrap_or(4.0);
    let stated = keys.maybe_size("intermediate_size", None)?;
    let wanted = (d_model as f64 * ratio) as usize;
    Ok(stated.unwrap_or_else(|| wanted.checked_next_multiple_of(ROUNDED).unwrap_or(usize::MAX)))
}
