//! Mixtures of experts in GGUF files.

use super::common::{Architecture, rms, rotary, rotary_of, window, windows};
use super::keys::GgufKeys;
use crate::common::*;
use crate::model::config::{ClampedGate, Config, Experts, QkNorm};
use crate::model::layout::TensorSource;

/// The bounds and the slope of gpt-oss' gates, which the file does not state.
const CLAMPED: ClampedGate = ClampedGate { limit: 7.0, slope: 1.702 };

/// gpt-oss has a window in every other layer, where the file does not state which.
const GPT_OSS_PATTERN: usize = 2;

/// Reads the experts, if the file has any. Those of `llama` are as wide as an MLP would be.
pub(super) fn experts(keys: &GgufKeys, config: &Config) -> Result<Option<Experts>> {
    let count = keys.maybe_size("expert_count")?.unwrap_or(0);
    let chosen = keys.maybe_size("expert_used_count")?.unwrap_or(0);
    let width = keys.maybe_size("expert_feed_forward_length")?;
    if count == 0 {
        return Ok(None);
    }
    if chosen == 0 || chosen > count {
        bail!(Format, "expected 1 to {count} experts to read each token, found {chosen}");
    }
    Ok(Some(Experts {
        count,
        chosen,
        d_mlp: width.unwrap_or(config.d_mlp),
        renormalised: true,
        plain: Vec::new(),
        ..Experts::default()
    }))
}

/// Reads what Qwen's mixtures add to their models with MLPs.
pub(super) fn qwen_moe(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    rms(keys, config)?;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    let mut experts = needed(keys, config)?;
    if keys.architecture == "qwen2moe" {
        config.family = "qwen2_moe".into();
        experts.renormalised = false;
        experts.shared = Some(keys.maybe_size("expert_shared_feed_forward_length")?.unwrap_or(config.d_mlp));
    } else {
        config.family = "qwen3_moe".into();
        config.qk_norm = QkNorm::Head;
    }
    config.experts = Some(experts);
    Ok(())
}

/// Reads the experts of an architecture that always has them.
pub(super) fn needed(keys: &GgufKeys, config: &Config) -> Result<Experts> {
    match experts(keys, config)? {
        Some(experts) => Ok(experts),
        None => bail!(Format, "expected experts in a file of {}, found none", keys.architecture),
    }
}

/// Reads what gpt-oss has. The bounds of its scaled rotation are not rounded, which the file does not state.
pub(super) fn gpt_oss(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    found.mlp_norm_behind_attention = true;
    let config = &mut found.config;
    config.family = "gpt_oss".into();
    rms(keys, config)?;
    config.rotary = Some(rotary_of(keys, config.d_head, false, false)?);
    config.windows = windows(keys, config.layers, window(keys, None)?, GPT_OSS_PATTERN)?;
    config.sinks = true;
    config.mlp_bias = source.shape("blk.0.ffn_gate_inp.bias").is_some();
    config.experts = Some(Experts { clamped: Some(CLAMPED), ..needed(keys, config)? });
    Ok(())
}
