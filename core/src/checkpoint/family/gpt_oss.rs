//! gpt-oss (OpenAI 2025): experts with clamped gates, attention sinks, and windows in every other layer.

use super::names::{EXPERT_DOWN, EXPERT_GATE_UP};
use super::prelude::*;
use crate::model::config::{ClampedGate, Rotary, Scaling};

pub(super) const FAMILY: Family = Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("gpt_oss", read) };

const SIZES: Sizes = Sizes { vocab: 201_088, d_model: 2880, layers: 36, heads: 64, d_mlp: 2880, context: 131_072 };
const COMMON: Common = Common {
    d_head: ("head_dim", Some(64)),
    eps: ("rms_norm_eps", 1e-5),
    ..Common::like_llama("gpt_oss", Some(8)).sized(SIZES)
};

const NAMES: &[NameLine] = &[
    ("blocks.*.attn.sinks", Exact("model.layers.*.self_attn.sinks")),
    ("blocks.*.mlp.router", Same("model.layers.*.mlp.router")),
    ("blocks.*.mlp.experts.#.gate_up", OfExpert("model.layers.*.mlp.experts.gate_up_proj", EXPERT_GATE_UP)),
    ("blocks.*.mlp.experts.#.down", OfExpert("model.layers.*.mlp.experts.down_proj", EXPERT_DOWN)),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
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
    let config = Config { windows, gated: true, experts: Some(experts), sinks: true, ..config };
    let config = Config { qkv_bias: biases, out_bias: biases, mlp_bias: true, ..config };
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
