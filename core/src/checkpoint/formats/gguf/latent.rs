//! DeepSeek V2 and V3 in GGUF files. The converter keeps the maps from a latent to keys and to values apart, those to keys
//! transposed head by head, so that a program may compute with latents alone; older files have both in one matrix.

use super::common::{Architecture, rms, rotary};
use super::keys::GgufKeys;
use super::{mixtures, names};
use crate::checkpoint::family::grown;
use crate::common::*;
use crate::model::config::{Config, ExpertGroups, Experts, LatentAttention, Scaling};
use crate::model::layout::{StepBack, TensorSource, WeightFrom};

/// The number of a router's softmax in `expert_gating_func`.
const SOFTMAX: usize = 1;

/// The number of a router's sigmoids in `expert_gating_func`.
const SIGMOID: usize = 2;

/// The factor with which the converter writes YaRN's slope.
const SLOPE: f64 = 0.1;

/// The maps to keys and values in one matrix.
const BOTH: &str = "attn_kv_b";

/// The map to the latent of keys and values, and to the part of keys that all heads share.
const DOWN: &str = "attn_kv_a_mqa";

/// Reads the size of a head's keys. Where the maps to keys and values are apart, the usual key has the size of a latent.
pub(super) fn key_size(keys: &GgufKeys) -> Result<usize> {
    of_head(keys, "attention.key_length_mla", "attention.key_length")
}

fn of_head(keys: &GgufKeys, own: &str, usual: &str) -> Result<usize> {
    let usual = keys.maybe_size(usual)?;
    match keys.maybe_size(own)?.filter(|size| *size > 0).or(usual) {
        Some(size) => Ok(size),
        None => keys.size(own),
    }
}

/// Reads what DeepSeek V2 and V3 add to llama: latents, and experts in groups beside one without a gate.
pub(super) fn deepseek2(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    rms(keys, config)?;
    let d_shared = keys.size("rope.dimension_count")?;
    config.kv_heads = config.heads;
    config.latent = Some(LatentAttention {
        kv_rank: keys.size("attention.kv_lora_rank")?,
        q_rank: keys.maybe_size("attention.q_lora_rank")?.filter(|rank| *rank > 0),
        d_shared,
        d_value: of_head(keys, "attention.value_length_mla", "attention.value_length")?,
        norm_eps: config.norm_eps,
    });
    let mut rotary = rotary(keys, d_shared, true)?;
    let slope = keys.maybe_float("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0) / SLOPE;
    // Where there is a slope, scores have the square of a factor that other models have in their rotation.
    if let Scaling::Yarn { factor, amplitude, .. } = &mut rotary.scaling
        && slope != 0.0
    {
        *amplitude = keys.maybe_float("rope.scaling.yarn_attn_factor")?.unwrap_or(1.0);
        config.score_scale *= grown(*factor, slope).powi(2);
    }
    config.rotary = Some(rotary);
    config.experts = experts(keys, source, config)?;
    let is_sigmoid = config.experts.as_ref().is_some_and(|experts| experts.sigmoid);
    config.family = if is_sigmoid { "deepseek_v3" } else { "deepseek_v2" }.into();
    // Some files have the maps to keys and values in both forms.
    if source.shape("blk.0.attn_k_b.weight").is_some() {
        found.ignored.push(format!("blk.*.{BOTH}.weight"));
    }
    Ok(())
}

/// Reads the experts, if any layer has them.
fn experts(keys: &GgufKeys, source: &dyn TensorSource, config: &Config) -> Result<Option<Experts>> {
    let plain = keys.maybe_size("leading_dense_block_count")?.unwrap_or(0).min(config.layers);
    let shared = keys.maybe_size("expert_shared_count")?.unwrap_or(0);
    let scale = keys.maybe_float("expert_weights_scale")?;
    let renormalised = keys.flag("expert_weights_norm", false)?;
    let gating = keys.maybe_size("expert_gating_func")?;
    let groups = keys.maybe_size("expert_group_count")?.unwrap_or(1);
    let of_token = keys.maybe_size("expert_group_used_count")?.unwrap_or(1);
    let found = mixtures::experts(keys, config)?;
    let Some(found) = found.filter(|_| plain < config.layers) else { return Ok(None) };
    let choice_bias = source.shape(&format!("blk.{plain}.exp_probs_b.bias")).is_some();
    let sigmoid = match gating {
        Some(SIGMOID) => true,
        Some(SOFTMAX) => false,
        None if !choice_bias => false,
        other => {
            let found = other.map_or("none".to_string(), |other| other.to_string());
            return Err(err!(
                Format,
                "expected `expert_gating_func` {SOFTMAX} (softmax) or {SIGMOID} (sigmoid), found {found}"
            ));
        }
    };
    // Files do not state how groups are compared: DeepSeek V2 takes the best expert of each, and V3 the best two.
    let best = if sigmoid { 2 } else { 1 };
    let shared = shared.saturating_mul(found.d_mlp);
    Ok(Some(Experts {
        renormalised,
        shared: (shared > 0).then_some(shared),
        ungated_shared: true,
        sigmoid,
        choice_bias,
        groups: (groups > 1).then_some(ExpertGroups { count: groups, chosen: of_token, best }),
        scale: scale.filter(|scale| *scale != 1.0 && *scale != 0.0),
        wide_router: true,
        plain: (0..plain).collect(),
        ..found
    }))
}

/// Returns where a weight of latent attention is; `at` makes the whole name of a tensor of the layer.
pub(super) fn place(
    part: &str,
    ending: &str,
    config: &Config,
    source: &dyn TensorSource,
    at: impl Fn(&str) -> String,
) -> Option<WeightFrom> {
    let latent = config.latent.as_ref()?;
    let named = |theirs: &str| at(&format!("{theirs}.{ending}"));
    let own = config.d_head.checked_sub(latent.d_shared)?;
    let rewritten = |theirs: &str, heads: [usize; 2], back: Vec<StepBack>| {
        let whole = vec![config.heads, heads[0], heads[1]];
        WeightFrom::Rewritten { name: named(theirs), whole, back }
    };
    let is_fused = source.shape(&named("attn_k_b")).is_none() && source.shape(&named(BOTH)).is_some();
    let fused = |start, count| WeightFrom::OfEachGroup {
        name: named(BOTH),
        groups: config.heads,
        group: own + latent.d_value,
        start,
        count,
    };
    Some(match part {
        "q" if latent.q_rank.is_some() => WeightFrom::Same(named("attn_q_b")),
        "kv_latent" => WeightFrom::Rows { name: named(DOWN), start: 0, count: latent.kv_rank },
        "k_shared" => WeightFrom::Rows { name: named(DOWN), start: latent.kv_rank, count: latent.d_shared },
        "k" if is_fused => fused(0, own),
        "v" if is_fused => fused(own, latent.d_value),
        "k" => rewritten("attn_k_b", [latent.kv_rank, own], vec![StepBack::Turned, StepBack::Joined]),
        "v" => rewritten("attn_v_b", [latent.d_value, latent.kv_rank], vec![StepBack::Joined]),
        _ => WeightFrom::Same(at(&names::theirs(&format!("attn.{part}"), ending)?)),
    })
}
