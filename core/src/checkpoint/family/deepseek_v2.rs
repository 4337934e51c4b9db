//! DeepSeek V2 (DeepSeek-AI 2024): keys and values of all heads by way of one latent, and experts beside those that every
//! token passes through.

use super::common::with_head_size;
use super::prelude::*;
use super::rope::{grown, one_of_both};
use crate::model::config::{ExpertGroups, LatentAttention, Rotary, Scaling};

pub(super) const FAMILY: Family =
    Family { names: &[NAMES, llama_names::NAMES], ..Family::like_llama("deepseek_v2", read) };

const SIZES: Sizes = Sizes { vocab: 102_400, d_model: 4096, layers: 32, heads: 32, d_mlp: 11008, context: 2048 };
const COMMON: Common =
    Common { bos: Some(1), eos: Some(2), ..Common::modern("deepseek_v2", NormKind::Rms).sized(SIZES) };

const DOWN_PARTS: &[&str] = &["blocks.*.attn.kv_latent", "blocks.*.attn.k_shared"];
const UP_PARTS: &[&str] = &["blocks.*.attn.k", "blocks.*.attn.v"];

/// Names of the weights of latent attention and of experts.
pub(super) const NAMES: &[NameLine] = &[
    ("blocks.*.attn.q_latent", Same("model.layers.*.self_attn.q_a_proj")),
    ("blocks.*.attn.q_latent_norm", Same("model.layers.*.self_attn.q_a_layernorm")),
    (
        "blocks.*.attn.q",
        ByQueryLatent { latent: "model.layers.*.self_attn.q_b_proj", other: "model.layers.*.self_attn.q_proj" },
    ),
    ("blocks.*.attn.down", Rows("model.layers.*.self_attn.kv_a_proj_with_mqa", DOWN_PARTS)),
    ("blocks.*.attn.kv_latent_norm", Same("model.layers.*.self_attn.kv_a_layernorm")),
    ("blocks.*.attn.kv", OfEachGroup("model.layers.*.self_attn.kv_b_proj", UP_PARTS)),
    ("blocks.*.mlp.router", Same("model.layers.*.mlp.gate")),
    ("blocks.*.mlp.choice_bias", Exact("model.layers.*.mlp.gate.e_score_correction_bias")),
    ("blocks.*.mlp.experts.#.gate", Same("model.layers.*.mlp.experts.#.gate_proj")),
    ("blocks.*.mlp.experts.#.up", Same("model.layers.*.mlp.experts.#.up_proj")),
    ("blocks.*.mlp.experts.#.down", Same("model.layers.*.mlp.experts.#.down_proj")),
    ("blocks.*.mlp.shared.gate", Same("model.layers.*.mlp.shared_experts.gate_proj")),
    ("blocks.*.mlp.shared.up", Same("model.layers.*.mlp.shared_experts.up_proj")),
    ("blocks.*.mlp.shared.down", Same("model.layers.*.mlp.shared_experts.down_proj")),
];

fn read(keys: &mut Keys) -> Result<Config> {
    let config = COMMON.read(keys)?;
    keys.only("mlp_bias", false)?;
    keys.only("scoring_func", "softmax")?;
    // The code of the published models divides by the sum of the chosen or multiplies by the factor, and that of
    // transformers does not divide.
    keys.only("norm_topk_prob", false)?;
    let sizes = ExpertSizes { count: 64, chosen: 0, d_mlp: 1407, shared: 2, plain: 0, scale: 1.0 };
    let all = experts(keys, &config, &sizes)?;
    let groups = groups(keys, [None, None], 1)?;
    let groups = match keys.word("topk_method")? {
        None | Some("greedy") => None,
        Some("group_limited_greedy") => Some(groups.ok_or_else(|| {
            err!(Format, "expected `n_group` and `topk_group` with the `topk_method` group_limited_greedy, found none")
        })?),
        Some(other) => {
            return Err(err!(Format, "the config key `topk_method` is {other}, which is not implemented")
                .hint("expected greedy or group_limited_greedy"));
        }
    };
    let config = Config { experts: all.map(|experts| Experts { groups, ..experts }), ..config };
    latent(keys, config, true)
}

/// Defaults of a family for the keys of experts.
pub(super) struct ExpertSizes {
    pub count: usize,
    pub chosen: usize,
    pub d_mlp: usize,
    /// The number of shared experts, which are one of as many times the width.
    pub shared: usize,
    /// The number of first layers with a plain MLP.
    pub plain: usize,
    pub scale: f64,
}

/// Reads the experts, without groups, if any layer has them.
pub(super) fn experts(keys: &mut Keys, config: &Config, default: &ExpertSizes) -> Result<Option<Experts>> {
    // What counts in training alone, and how experts are spread over machines.
    keys.ignore(&["aux_loss_alpha", "seq_aux", "ep_size"]);
    keys.only("moe_layer_freq", 1)?;
    let count = keys.size("n_routed_experts", default.count)?;
    for key in ["num_experts", "num_local_experts"] {
        keys.only(key, count)?;
    }
    let d_mlp = keys.size("moe_intermediate_size", default.d_mlp)?;
    let shared = keys.maybe_size("n_shared_experts", Some(default.shared))?.unwrap_or(0).saturating_mul(d_mlp);
    let plain = keys.size("first_k_dense_replace", default.plain)?.min(config.layers);
    let experts = Experts {
        count,
        chosen: keys.maybe_size("num_experts_per_tok", Some(default.chosen))?.unwrap_or(0),
        d_mlp,
        shared: (shared > 0).then_some(shared),
        ungated_shared: true,
        scale: Some(keys.number("routed_scaling_factor", default.scale)?).filter(|scale| *scale != 1.0),
        wide_router: true,
        plain: (0..plain).collect(),
        ..Experts::default()
    };
    Ok((plain < config.layers).then_some(experts))
}

/// Reads the groups of experts; those of one group are all experts.
pub(super) fn groups(keys: &mut Keys, default: [Option<usize>; 2], best: usize) -> Result<Option<ExpertGroups>> {
    let count = keys.maybe_size("n_group", default[0])?;
    let chosen = keys.maybe_size("topk_group", default[1])?;
    let both = count.zip(chosen).map(|(count, chosen)| ExpertGroups { count, chosen, best });
    Ok(both.filter(|groups| groups.count != 1))
}

/// Adds latent attention with its rotation to a config. `neighbours` says whether pairs of rotated coordinates are
/// adjacent.
pub(super) fn latent(keys: &mut Keys, config: Config, neighbours: bool) -> Result<Config> {
    keys.only("num_key_value_heads", config.heads)?;
    let biases = keys.flag("attention_bias", false)?;
    let own = keys.size("qk_nope_head_dim", 128)?;
    let d_shared = keys.size("qk_rope_head_dim", 64)?;
    let d_head = own.saturating_add(d_shared);
    // transformers writes what follows from others.
    keys.only("qk_head_dim", d_head)?;
    keys.only("head_dim", d_shared)?;
    let latent = LatentAttention {
        kv_rank: keys.size("kv_lora_rank", 512)?,
        q_rank: keys.maybe_size("q_lora_rank", Some(1536))?,
        d_shared,
        d_value: keys.size("v_head_dim", 128)?,
        // Whatever `rms_norm_eps` is: in transformers the norms of latents do not know it.
        norm_eps: 1e-6,
    };
    // What is rotated is all of a head of the shared coordinates.
    let turned = WHOLE_HEAD.read(keys, Config { d_head: d_shared, ..config.clone() })?;
    let slope = match one_of_both(keys)? {
        Some(mut stated) => stated.maybe_number("mscale_all_dim", None)?.unwrap_or(0.0),
        None => 0.0,
    };
    let config = Config {
        gated: true,
        qkv_bias: biases,
        out_bias: biases,
        latent: Some(latent),
        positions: turned.positions,
        rotary: turned.rotary.map(|rotary| Rotary { neighbours, ..rotary }),
        ..config
    };
    let config = with_head_size(config, Some(d_head));
    // Where YaRN extends the context, scores have the square of a factor that other models have in their rotation.
    let factor = match config.rotary.as_ref().map(|rotary| &rotary.scaling) {
        Some(Scaling::Yarn { factor, .. }) if slope != 0.0 => grown(*factor, slope),
        _ => 1.0,
    };
    Ok(Config { score_scale: config.score_scale * factor * factor, ..config })
}
