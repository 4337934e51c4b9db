//! Architectures with an MLP in every layer that differ from llama in little.

use super::common::{Architecture, gpt, layer_norms, rms, rotary, window, windows};
use super::keys::GgufKeys;
use crate::common::*;
use crate::model::config::{Activation, Config, NormKind, Order, QkNorm, Rotary, Scaling};
use crate::model::layout::TensorSource;

/// SmolLM 3 rotates nothing in one of this many layers, which the file does not state.
const UNROTATED: usize = 4;

/// Cohere 2 has no window in one of this many layers, where the file does not state which.
const COHERE_PATTERN: usize = 4;

/// OLMo 3 has no window in one of this many layers, where the file does not state which.
const OLMO_PATTERN: usize = 4;

pub(super) fn phi2(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    gpt(keys, config)?;
    config.family = "phi".into();
    config.act = Activation::GeluTanh;
    config.order = Order::ParallelShared;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    Ok(())
}

/// Reads what StableLM adds. As in llama.cpp, blocks are parallel if they have no norm of their own before the MLP.
pub(super) fn stablelm(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    layer_norms(keys, config)?;
    keys.flag("use_parallel_residual", true)?;
    let has_norm = source.shape("blk.0.ffn_norm.weight").is_some();
    config.order = if has_norm { Order::Serial } else { Order::ParallelShared };
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    Ok(())
}

/// Reads what OLMo 2 adds, and OLMo 3, whose files are of the same architecture and have a window.
pub(super) fn olmo2(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    rms(keys, config)?;
    config.pre_norm = false;
    config.post_norm = true;
    config.qk_norm = QkNorm::Whole;
    let whole = rotary(keys, config.d_head, false)?;
    if let Some(window) = window(keys, None)? {
        config.family = "olmo3".into();
        config.windows = windows(keys, config.layers, Some(window), OLMO_PATTERN)?;
        let theta = keys.maybe_float("rope.freq_base_swa")?.unwrap_or(whole.theta);
        let local = Rotary { theta, scaling: Scaling::None, ..whole.clone() };
        config.rotary_local = Some(local).filter(|local| *local != whole && !config.windows.is_empty());
    }
    config.rotary = Some(whole);
    Ok(())
}

/// Reads what Granite adds to llama: factors of embeddings, scores, writes to the residual stream and logits.
pub(super) fn granite(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    if !keys.flag("rope.scaling.finetuned", true)? {
        bail!(Format, "expected rotary positions, found a granite without them (`rope.scaling.finetuned` is false)");
    }
    granite_factors(keys, config)
}

/// Reads the factors of Granite, without its rotation.
pub(super) fn granite_factors(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    let divisor = keys.float("logit_scale")?;
    if divisor == 0.0 {
        bail!(Format, "expected `logit_scale` other than 0, by which logits are divided");
    }
    let factor = |x: Option<f64>| x.filter(|x| *x != 1.0 && *x != 0.0);
    // 0 counts as left out, as in llama.cpp.
    if let Some(scale) = keys.maybe_float("attention.scale")?.filter(|scale| *scale != 0.0) {
        config.score_scale = scale;
    }
    config.embed_scale = factor(keys.maybe_float("embedding_scale")?);
    config.write_scale = factor(keys.maybe_float("residual_scale")?);
    config.logit_scale = factor(Some(1.0 / divisor));
    Ok(())
}

/// Reads what Command R adds, and Cohere 2, whose layers have windows, but for some that rotate nothing.
pub(super) fn cohere(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    config.norm = Some(NormKind::Layer);
    config.norm_eps = keys.float("attention.layer_norm_epsilon")?;
    config.order = Order::ParallelShared;
    let scale = keys.float("logit_scale")?;
    if scale == 0.0 {
        bail!(Format, "expected `logit_scale` other than 0, with which logits are multiplied");
    }
    config.logit_scale = (scale != 1.0).then_some(scale);
    config.rotary = Some(rotary(keys, config.d_head, true)?);
    if keys.architecture == "command-r" {
        config.family = "cohere".into();
        return Ok(());
    }
    let window = keys.size("attention.sliding_window")?;
    config.windows = windows(keys, config.layers, Some(window).filter(|window| *window > 0), COHERE_PATTERN)?;
    config.unrotated = (0..config.layers).filter(|layer| config.window(*layer).is_none()).collect();
    Ok(())
}

/// Reads what GLM 4 adds: norms on both sides, gate and up in one matrix, and adjacent coordinates that are rotated together.
pub(super) fn glm4(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    found.fused_gate = true;
    let config = &mut found.config;
    rms(keys, config)?;
    config.post_norm = true;
    config.rotary = Some(rotary(keys, config.d_head, true)?);
    Ok(())
}

/// Adds what SmolLM 3 has beyond llama.
pub(super) fn smollm3(config: &mut Config) {
    config.unrotated = (0..config.layers).filter(|layer| (layer + 1).is_multiple_of(UNROTATED)).collect();
}
