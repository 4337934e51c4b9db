//! ModernBERT (Warner et al. 2024): attention to both sides, in most layers within a window, gated MLPs, rotary positions.

use super::Family;
use super::bert::predicts;
use super::common::{Common, windows};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::rope::{Outer, Rope, WHOLE_HEAD};
use crate::base::Result;
use crate::err;
use crate::model::config::{Config, NormKind, Positions, Predicts, Rotary, Transform};

pub(super) const FAMILY: Family = Family { name: "modernbert", read, names: &[NAMES], ignored: &[] };

const COMMON: Common = Common {
    vocab: 50368,
    d_model: ("hidden_size", 768),
    layers: ("num_hidden_layers", 22),
    heads: ("num_attention_heads", 12),
    d_mlp: ("intermediate_size", Some(1152)),
    context: ("max_position_embeddings", 8192),
    act: ("hidden_activation", "gelu"),
    eps: ("norm_eps", 1e-5),
    tied: true,
    bos: Some(50281),
    eos: Some(50282),
    ..Common::modern("modernbert", NormKind::Layer)
};

const QKV: &[&str] = &["blocks.*.attn.q", "blocks.*.attn.k", "blocks.*.attn.v"];
const GATE_UP: &[&str] = &["blocks.*.mlp.gate", "blocks.*.mlp.up"];

const NAMES: &[NameLine] = &[
    ("embed", Same("model.embeddings.tok_embeddings")),
    ("embed_norm", Same("model.embeddings.norm")),
    ("blocks.*.attn_norm", Same("model.layers.*.attn_norm")),
    ("blocks.*.attn.q", Rows("model.layers.*.attn.Wqkv", QKV)),
    ("blocks.*.attn.k", Rows("model.layers.*.attn.Wqkv", QKV)),
    ("blocks.*.attn.v", Rows("model.layers.*.attn.Wqkv", QKV)),
    ("blocks.*.attn.o", Same("model.layers.*.attn.Wo")),
    ("blocks.*.mlp_norm", Same("model.layers.*.mlp_norm")),
    ("blocks.*.mlp.gate", Rows("model.layers.*.mlp.Wi", GATE_UP)),
    ("blocks.*.mlp.up", Rows("model.layers.*.mlp.Wi", GATE_UP)),
    ("blocks.*.mlp.down", Same("model.layers.*.mlp.Wo")),
    ("transform.norm", Same("model.final_norm")),
    ("transform", Same("head.dense")),
    ("final_norm", ByTransform { with: "head.norm", without: "model.final_norm" }),
    ("unembed", Same("decoder")),
];

/// Keys of training, and of code for it.
const OF_TRAINING: [&str; 12] = [
    "classifier_pooling",
    "cls_token_id",
    "deterministic_flash_attn",
    "embedding_dropout",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "mlp_dropout",
    "position_embedding_type",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_pred_ignore_index",
    "sparse_prediction",
];

/// Default interval of layers with global attention.
const INTERVAL: usize = 3;

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    OF_TRAINING.iter().for_each(|key| {
        keys.value(key);
    });
    let interval = keys.size("global_attn_every_n_layers", INTERVAL)?;
    if interval == 0 {
        return Err(err!(Format, "expected `global_attn_every_n_layers` of at least 1, found 0"));
    }
    // Half of it on either side, and the query itself.
    let window = keys.size("local_attention", 128)? / 2 + 1;
    let windows = windows(keys, config.layers, Some(window), |layer| !layer.is_multiple_of(interval))?;
    let (whole, local) = rotations(keys, &config)?;
    let attention_bias = keys.flag("attention_bias", false)?;
    let config = Config {
        gated: true,
        embed_norm: true,
        unnormed: if config.layers > 0 { vec![0] } else { Vec::new() },
        norm_bias: keys.flag("norm_bias", false)?,
        qkv_bias: attention_bias,
        out_bias: attention_bias,
        mlp_bias: keys.flag("mlp_bias", false)?,
        positions: Positions::Rotary,
        rotary: Some(whole),
        rotary_local: Some(local),
        windows,
        causal: false,
        ..config
    };
    let transform = Transform {
        act: keys.activation("classifier_activation", "gelu")?,
        norm: true,
        bias: keys.flag("classifier_bias", false)?,
    };
    let unembed_bias = keys.flag("decoder_bias", true)?;
    Ok(if predicts(keys, "ModernBertModel")? == Predicts::Nothing {
        Config { predicts: Predicts::Nothing, tied: true, ..config }
    } else {
        Config { predicts: Predicts::Masked, transform: Some(transform), unembed_bias, ..config }
    })
}

/// Reads the rotation of layers with global attention, and that of layers with a window.
fn rotations(keys: &mut Keys, config: &Config) -> Result<(Rotary, Rotary)> {
    let whole = Rope { default_theta: 160_000.0, ..WHOLE_HEAD };
    let outer = |theta| Outer { theta, ..Outer::default() };
    let whole_theta = keys.maybe_number("global_rope_theta", None)?;
    let local_theta = keys.maybe_number("local_rope_theta", None)?;
    if let Some(mut both) = keys.nested("rope_parameters")? {
        let full = whole.rotary(both.nested("full_attention")?, &outer(whole_theta), config)?;
        let local = WHOLE_HEAD.rotary(both.nested("sliding_attention")?, &outer(local_theta), config)?;
        both.finish(&[])?;
        return Ok((full, local));
    }
    let full = whole.rotary(None, &outer(whole_theta), config)?;
    Ok((full, WHOLE_HEAD.rotary(None, &outer(local_theta), config)?))
}
