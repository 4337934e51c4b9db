//! Gemma 1 to 3 in GGUF files, whose converter has added the 1 of gemma's norms to their weights.

use super::common::{rms, rotary, window, windows};
use super::keys::GgufKeys;
use crate::base::Result;
use crate::model::config::{Activation, Config, QkNorm, Rotary, Scaling};

/// The scores of the two models of 27 billion weights have a factor of their own, which the file does not state:
/// llama.cpp knows them by their numbers of layers.
const LARGEST: [(&str, usize); 2] = [("gemma2", 46), ("gemma3", 62)];

pub(super) fn gemma(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    rms(keys, config)?;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    config.act = Activation::GeluTanh;
    config.embed_scale = Some((config.d_model as f64).sqrt());
    Ok(())
}

/// Reads what gemma 2 adds: norms on both sides of attention and MLP, capped scores and logits, a window in every other
/// layer.
pub(super) fn gemma2(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    later(keys, config)?;
    config.score_cap = cap(keys, "attn_logit_softcapping", Some(50.0))?;
    config.logit_cap = cap(keys, "final_logit_softcapping", Some(30.0))?;
    let window = window(keys, Some(4096))?;
    config.windows = windows(keys, config.layers, window, 2)?;
    // By default, layers with a window rotate as the others do.
    let theta = keys.maybe_float("rope.freq_base_swa")?;
    config.rotary_local = local(config, |whole| Rotary { theta: theta.unwrap_or(whole.theta), ..whole.clone() });
    Ok(())
}

/// Reads what gemma 3 adds: norms of queries and keys in place of the caps, a window in five of six layers, with
/// another rotation.
pub(super) fn gemma3(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    later(keys, config)?;
    config.family = "gemma3_text".into();
    config.qk_norm = QkNorm::Head;
    config.logit_cap = cap(keys, "final_logit_softcapping", None)?;
    let Some(window) = window(keys, None)? else { return Ok(()) };
    config.windows = windows(keys, config.layers, Some(window), 6)?;
    // Files of the first converters state the base of the other layers only.
    let theta = keys.maybe_float("rope.freq_base_swa")?.unwrap_or(10_000.0);
    config.rotary_local = local(config, |whole| Rotary { theta, scaling: Scaling::None, ..whole.clone() });
    Ok(())
}

fn later(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    gemma(keys, config)?;
    config.post_norm = true;
    if LARGEST.contains(&(keys.architecture, config.layers)) {
        config.score_scale = ((config.d_model / config.heads) as f64).sqrt().recip();
    }
    Ok(())
}

/// Reads a soft cap; 0 stands for none.
fn cap(keys: &GgufKeys, key: &str, usual: Option<f64>) -> Result<Option<f64>> {
    Ok(keys.maybe_float(key)?.or(usual).filter(|cap| *cap != 0.0))
}

/// Returns the rotation of layers with a window, if it differs from that of the others.
fn local(config: &Config, of: impl Fn(&Rotary) -> Rotary) -> Option<Rotary> {
    let whole = config.rotary.as_ref()?;
    Some(of(whole)).filter(|local| local != whole)
}
