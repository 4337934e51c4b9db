//! Metadata that several architectures read in the same way.

use super::keys::GgufKeys;
use super::rope;
use crate::base::Result;
use crate::model::config::{Activation, Config, NormKind, Rotary};

/// A config, and which of its weights the file has fused into one tensor.
pub(super) struct Architecture {
    pub config: Config,
    /// Whether queries, keys and values are the rows of one `attn_qkv`.
    pub fused_qkv: bool,
    /// Whether gate and up are the rows of one `ffn_up`.
    pub fused_gate: bool,
    /// Whether the norm before the MLP has the name that others give one behind attention.
    pub mlp_norm_behind_attention: bool,
    /// Whether the norm before attention has the name of a second one, and that before the MLP its name.
    pub attn_norm_is_second: bool,
    /// Number of blocks in the file, those included that predict tokens ahead and that logits do not need.
    pub all_layers: usize,
    /// Tensors whose content is already in the config, or that logits do not need.
    pub ignored: Vec<String>,
}

pub(super) fn rotary(keys: &GgufKeys, d_head: usize, neighbours: bool) -> Result<Rotary> {
    rotary_of(keys, d_head, neighbours, true)
}

/// Reads the rotation. `rounded`: whether YaRN's bounds are rounded to whole pairs.
pub(super) fn rotary_of(keys: &GgufKeys, d_head: usize, neighbours: bool, rounded: bool) -> Result<Rotary> {
    let dims = keys.maybe_size("rope.dimension_count")?.unwrap_or(d_head);
    let theta = keys.maybe_float("rope.freq_base")?.unwrap_or(10_000.0);
    Ok(Rotary { dims, theta, neighbours, scaling: rope::scaling(keys, rounded)? })
}

/// Reads the small number of layer norms with biases.
pub(super) fn layer_norms(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    config.norm = Some(NormKind::Layer);
    config.norm_bias = true;
    config.norm_eps = keys.float("attention.layer_norm_epsilon")?;
    Ok(())
}

/// Reads what GPT-2 and others of its time have: layer norms with biases, and MLPs with a GELU and no gate.
pub(super) fn gpt(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    layer_norms(keys, config)?;
    config.gated = false;
    config.act = Activation::Gelu;
    Ok(())
}

pub(super) fn rms(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    config.norm_eps = keys.float("attention.layer_norm_rms_epsilon")?;
    Ok(())
}

/// Reads the size of the windows, if there are any.
pub(super) fn window(keys: &GgufKeys, usual: Option<usize>) -> Result<Option<usize>> {
    Ok(keys.maybe_size("attention.sliding_window")?.or(usual).filter(|window| *window > 0))
}

/// Reads the window of each layer; by default every layer whose number, from 1, is a multiple of `pattern` has none.
pub(super) fn windows(
    keys: &GgufKeys,
    layers: usize,
    window: Option<usize>,
    pattern: usize,
) -> Result<Vec<Option<usize>>> {
    let slides = keys.layers("attention.sliding_window_pattern", layers, pattern)?;
    let windows: Vec<Option<usize>> = slides.into_iter().map(|slides| window.filter(|_| slides)).collect();
    Ok(if windows.iter().all(Option::is_none) { Vec::new() } else { windows })
}
