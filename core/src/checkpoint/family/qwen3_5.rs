//! Qwen 3.5, its text part (Qwen Team 2026): gated delta nets in most layers, and heads with gates in the others.

use super::common::{self, Common, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::rope::{Rope, part_of_head};
use super::{Family, llama_names};
use crate::base::Result;
use crate::err;
use crate::model::config::{Config, DeltaNets, NormKind, QkNorm};

pub(super) const FAMILY: Family = Family {
    name: "qwen3_5_text",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 248_320,
    d_model: ("hidden_size", 4096),
    layers: ("num_hidden_layers", 32),
    heads: ("num_attention_heads", 16),
    d_mlp: ("intermediate_size", Some(12_288)),
    context: ("max_position_embeddings", 32_768),
    ..Common::modern("qwen3_5_text", NormKind::Rms)
};

/// Default interval of layers with attention.
const INTERVAL: usize = 4;

const QUERY: &str = "model.layers.*.self_attn.q_proj";
const MIXED: &str = "model.layers.*.linear_attn.in_proj_qkv";
const PARTS: &[&str] = &["blocks.*.delta.q", "blocks.*.delta.k", "blocks.*.delta.v"];

pub(super) const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q", OfEachHead { name: QUERY, part: 0, parts: 2 }),
    ("blocks.*.attn.gate", OfEachHead { name: QUERY, part: 1, parts: 2 }),
    ("blocks.*.delta.q", Rows(MIXED, PARTS)),
    ("blocks.*.delta.k", Rows(MIXED, PARTS)),
    ("blocks.*.delta.v", Rows(MIXED, PARTS)),
    ("blocks.*.delta.conv", Same("model.layers.*.linear_attn.conv1d")),
    ("blocks.*.delta.write", Same("model.layers.*.linear_attn.in_proj_b")),
    ("blocks.*.delta.forget", Same("model.layers.*.linear_attn.in_proj_a")),
    ("blocks.*.delta.forget_bias", Exact("model.layers.*.linear_attn.dt_bias")),
    ("blocks.*.delta.log_rate", Exact("model.layers.*.linear_attn.A_log")),
    ("blocks.*.delta.gate", Same("model.layers.*.linear_attn.in_proj_z")),
    ("blocks.*.delta.norm", Same("model.layers.*.linear_attn.norm")),
    ("blocks.*.delta.o", Same("model.layers.*.linear_attn.out_proj")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    mixing(keys, config, 4)
}

/// Reads what layers have beside their MLPs or experts. `kv_heads`: their number by default.
pub(super) fn mixing(keys: &mut Keys, config: Config, kv_heads: usize) -> Result<Config> {
    let kv_heads = common::kv_heads(keys, &config, Some(kv_heads))?;
    let biases = keys.flag("attention_bias", false)?;
    keys.only("attn_output_gate", true)?;
    // Layers that predict tokens ahead, which the logits do not need.
    keys.maybe_size("mtp_num_hidden_layers", None)?;
    keys.flag("mtp_use_dedicated_embeddings", false)?;
    // What decays is computed in f32 at least, whatever the dtype.
    keys.only("mamba_ssm_dtype", "float32")?;
    let delta = delta_nets(keys, config.layers)?;
    let config = Config {
        kv_heads,
        delta,
        gated: true,
        gated_heads: true,
        norm_plus_one: true,
        qkv_bias: biases,
        out_bias: biases,
        qk_norm: QkNorm::Head,
        ..config
    };
    let config = with_head_size(config, Some(keys.size("head_dim", 256)?));
    // Sections of the rotation differ for pictures only: a text has one position in all of them.
    Rope { beside: &["mrope_section", "mrope_interleaved"], ..part_of_head(0.25) }.read(keys, config)
}

/// Reads the delta nets, if any layer has them: those that `layer_types` states, or all but one in every few.
fn delta_nets(keys: &mut Keys, layers: usize) -> Result<Option<DeltaNets>> {
    let interval = keys.size("full_attention_interval", INTERVAL)?;
    let found: Vec<usize> = match keys.words("layer_types")? {
        Some(types) if types.len() != layers => {
            return Err(err!(Format, "expected {layers} `layer_types`, one for each layer, found {}", types.len()));
        }
        Some(types) => {
            let known = ["linear_attention", "full_attention"];
            if let Some(other) = types.iter().find(|name| !known.contains(*name)) {
                return Err(err!(Format, "the layer type `{other}` of `layer_types` is not implemented")
                    .hint("expected linear_attention or full_attention"));
            }
            (0..layers).filter(|layer| types[*layer] == known[0]).collect()
        }
        None if interval == 0 => {
            return Err(err!(Format, "expected `full_attention_interval` of at least 1, found 0"));
        }
        None => (0..layers).filter(|layer| !(layer + 1).is_multiple_of(interval)).collect(),
    };
    let delta = DeltaNets {
        layers: found,
        key_heads: keys.size("linear_num_key_heads", 16)?,
        value_heads: keys.size("linear_num_value_heads", 32)?,
        d_key: keys.size("linear_key_head_dim", 128)?,
        d_value: keys.size("linear_value_head_dim", 128)?,
        kernel: keys.size("linear_conv_kernel_dim", 4)?,
    };
    Ok((!delta.layers.is_empty()).then_some(delta))
}
