//! Qwen 3.5, its text part (Qwen Team 2026): gated delta nets in most layers, and heads with gates in the others.

use super::common::layers_of;
use super::prelude::*;
use crate::model::config::DeltaNets;

pub(super) const FAMILY: Family =
    Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("qwen3_5_text", read) };

const SIZES: Sizes = Sizes { vocab: 248_320, d_model: 4096, layers: 32, heads: 16, d_mlp: 12_288, context: 32_768 };
const COMMON: Common =
    Common { d_head: ("head_dim", Some(256)), ..Common::like_llama("qwen3_5_text", Some(4)).sized(SIZES) };

/// Default interval of layers with attention.
const INTERVAL: usize = 4;

const QUERY_PARTS: &[&str] = &["blocks.*.attn.q", "blocks.*.attn.gate"];
const PARTS: &[&str] = &["blocks.*.delta.q", "blocks.*.delta.k", "blocks.*.delta.v"];

pub(super) const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q_gate", OfEachHead("model.layers.*.self_attn.q_proj", QUERY_PARTS)),
    ("blocks.*.delta.qkv", Rows("model.layers.*.linear_attn.in_proj_qkv", PARTS)),
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
    mixing(keys, config)
}

/// Reads what layers have beside their MLPs or experts.
pub(super) fn mixing(keys: &mut Keys, config: Config) -> Result<Config> {
    let biases = keys.flag("attention_bias", false)?;
    keys.only("attn_output_gate", true)?;
    // Layers that predict tokens ahead, which the logits do not need.
    keys.maybe_size("mtp_num_hidden_layers", None)?;
    keys.flag("mtp_use_dedicated_embeddings", false)?;
    // What decays is computed in f32 at least, whatever the dtype.
    keys.only("mamba_ssm_dtype", "float32")?;
    let delta = delta_nets(keys, config.layers)?;
    let config = Config {
        delta,
        gated: true,
        gated_heads: true,
        norm_plus_one: true,
        qkv_bias: biases,
        out_bias: biases,
        qk_norm: QkNorm::Head,
        ..config
    };
    // Sections of the rotation differ for pictures only: a text has one position in all of them.
    Rope { beside: &["mrope_section", "mrope_interleaved"], ..part_of_head(0.25) }.read(keys, config)
}

/// Reads the delta nets, if any layer has them: those that `layer_types` states, or all but one in every few.
fn delta_nets(keys: &mut Keys, layers: usize) -> Result<Option<DeltaNets>> {
    let interval = keys.size("full_attention_interval", INTERVAL)?;
    let found: Vec<usize> = match keys.words("layer_types")? {
        Some(types) => {
            let hint = "expected linear_attention or full_attention";
            layers_of(&types, layers, [&["linear_attention"], &["full_attention"]], hint)?
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
