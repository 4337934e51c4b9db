//! gpt-oss (OpenAI 2025): experts with clamped gates, attention sinks, and windows in every other layer.

use super::common::{Common, kv_heads, windows, with_head_size};
use super::keys::Keys;
use super::names::{NameLine, Theirs::*};
use super::rope::{Rope, WHOLE_HEAD};
use super::{Family, llama_names};
use crate::base::Result;
use crate::model::config::{ClampedGate, Config, Experts, NormKind, Positions, Rotary, Scaling};

pub(super) const FAMILY: Family = Family {
    name: "gpt_oss",
    read,
    names: &[NAMES, llama_names::MLP_NORM, llama_names::NAMES],
    ignored: llama_names::IGNORED,
};

const COMMON: Common = Common {
    vocab: 201_088,
    d_model: ("hidden_size", 2880),
    layers: ("num_hidden_layers", 36),
    heads: ("num_attention_heads", 64),
    d_mlp: ("intermediate_size", Some(2880)),
    context: ("max_position_embeddings", 131_072),
    eps: ("rms_norm_eps", 1e-5),
    ..Common::modern("gpt_oss", NormKind::Rms)
};

const GATE_UP: &str = "model.layers.*.mlp.experts.gate_up_proj";

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.sinks", Exact("model.layers.*.self_attn.sinks")),
    ("blocks.*.mlp.router", Same("model.layers.*.mlp.router")),
    ("blocks.*.mlp.experts.#.gate", OfExpert { name: GATE_UP, part: 0, parts: 2 }),
    ("blocks.*.mlp.experts.#.up", OfExpert { name: GATE_UP, part: 1, parts: 2 }),
    ("blocks.*.mlp.experts.#.down", OfExpert { name: "model.layers.*.mlp.experts.down_proj", part: 0, parts: 1 }),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    let kv_heads = kv_heads(keys, &config, Some(8))?;
    let window = keys.maybe_size("sliding_window", Some(128))?;
    let windows = windows(keys, config.layers, window, |layer| layer % 2 == 0)?;
    let biases = keys.flag("attention_bias", true)?;
    let chosen = keys.size("num_experts_per_tok", 4)?;
    // Older configs have it twice.
    keys.only("experts_per_token", chosen)?;
    // The router's softmax is over the chosen: the same as that over all, divided by the sum of the chosen.
    let experts = Experts {
        count: keys.size("num_local_experts", 128)?,
        chosen,
        d_mlp: config.d_mlp,
        renormalised: true,
        plain: Vec::new(),
        clamped: Some(ClampedGate {
            limit: keys.number("swiglu_limit", 7.0)?,
            slope: keys.number("swiglu_alpha", 1.702)?,
        }),
        ..Experts::default()
    };
    let config = Config { kv_heads, windows, gated: true, experts: Some(experts), sinks: true, ..config };
    let config = Config { qkv_bias: biases, out_bias: biases, mlp_bias: true, ..config };
    let config = with_head_size(config, Some(keys.size("head_dim", 64)?));
    rotated(keys, config)
}

/// Adds the rotation to a config, which transformers scales even where nothing is stated.
fn rotated(keys: &mut Keys, config: Config) -> Result<Config> {
    // The context before YaRN, which is among its parameters, too.
    keys.value("initial_context_length");
    let stated = ["rope_parameters", "rope_scaling"].iter().any(|key| keys.value(key).is_some_and(|v| !v.is_null()));
    if stated {
        return Rope { default_theta: 15e4, ..WHOLE_HEAD }.read(keys, config);
    }
    let theta = keys.number("rope_theta", 15e4)?;
    let amplitude = 0.1 * 32.0_f64.ln() + 1.0;
    let scaling = Scaling::Yarn { factor: 32.0, slow: 1.0, fast: 32.0, original: 4096, rounded: false, amplitude };
    let rotary = Some(Rotary { dims: config.d_head, theta, neighbours: false, scaling });
    Ok(Config { positions: Positions::Rotary, rotary, ..config })
}
