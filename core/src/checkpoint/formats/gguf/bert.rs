//! BERT in GGUF files, and RoBERTa, whose positions the converter counts from 0, and ModernBERT: encoders without an unembedding.

use super::common::{Architecture, layer_norms, rotary, window};
use super::keys::GgufKeys;
use crate::common::*;
use crate::model::config::{Activation, Positions, Predicts, Rotary};
use crate::model::layout::TensorSource;

/// ModernBERT has no window in one of this many layers, where the file does not state which.
const MODERN_PATTERN: usize = 3;

/// Reads BERT. Of the types of text the first is that of every token.
pub(super) fn bert(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    encoder(keys, found)?;
    let config = &mut found.config;
    config.gated = false;
    // The file does not say which GELU; BERT was trained with the exact one.
    config.act = Activation::Gelu;
    config.positions = Positions::Learned;
    config.pre_norm = false;
    config.stream_norm = true;
    config.final_norm = false;
    config.token_types = source.shape("token_types.weight").and_then(|shape| shape.first().copied());
    Ok(())
}

/// Reads ModernBERT: a window in all layers but the first of every few, with another rotation, and no norm before the first
/// attention.
pub(super) fn modern_bert(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    encoder(keys, found)?;
    // The converter writes the small number of norms under both names where the config has it under both.
    keys.maybe_float("attention.layer_norm_rms_epsilon")?;
    keys.maybe_size("classifier.pooling_type")?;
    found.fused_gate = true;
    let config = &mut found.config;
    config.family = "modernbert".into();
    config.norm_bias = source.shape("output_norm.bias").is_some();
    config.act = match keys.maybe_text("hidden_activation")? {
        None | Some("gelu") => Activation::Gelu,
        Some("silu") => Activation::Silu,
        Some(other) => {
            return Err(err!(Format, "expected `hidden_activation` gelu or silu, found `{other}`"));
        }
    };
    config.embed_norm = true;
    let is_normed = |layer: &usize| source.shape(&format!("blk.{layer}.attn_norm.weight")).is_some();
    config.unnormed = (0..config.layers.min(1)).filter(|layer| !is_normed(layer)).collect();
    let whole = rotary(keys, config.d_head, false)?;
    let theta = keys.maybe_float("rope.freq_base_swa")?.unwrap_or(whole.theta);
    config.windows = windows(keys, config.layers)?;
    let local = Rotary { theta, ..whole.clone() };
    config.rotary_local = Some(local).filter(|local| *local != whole && !config.windows.is_empty());
    config.rotary = Some(whole);
    Ok(())
}

/// Reads the window of each layer. A file states both sides of it together, and ours count the token itself.
fn windows(keys: &GgufKeys, layers: usize) -> Result<Vec<Option<usize>>> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let window = window(keys, None)?.map(|window| window / 2 + 1);
    let slides = match keys.maybe_layers(PATTERN, layers)? {
        Some(slides) => slides,
        None => {
            let pattern = keys.maybe_size(PATTERN)?.unwrap_or(MODERN_PATTERN);
            (0..layers).map(|layer| pattern == 0 || !layer.is_multiple_of(pattern)).collect()
        }
    };
    let windows: Vec<Option<usize>> = slides.into_iter().map(|slides| window.filter(|_| slides)).collect();
    Ok(if windows.iter().all(Option::is_none) { Vec::new() } else { windows })
}

/// Reads what encoders have in common. How their vectors are pooled to one is left to scripts.
fn encoder(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    keys.maybe_size("pooling_type")?;
    if keys.flag("attention.causal", false)? {
        bail!(Format, "expected attention to both sides in an encoder, found `attention.causal`");
    }
    let config = &mut found.config;
    layer_norms(keys, config)?;
    config.causal = false;
    config.predicts = Predicts::Nothing;
    // A tokenizer puts its own marks around a text.
    config.bos = None;
    config.eos = Vec::new();
    Ok(())
}
