//! Gemma 4 in GGUF files.

use super::common::{Architecture, rms, rotary, window, windows};
use super::keys::GgufKeys;
use super::{mixtures, rope};
use crate::common::*;
use crate::model::config::{Activation, Experts, GlobalHeads, QkNorm, Rotary, Scaling, SharedKeys};
use crate::model::layout::TensorSource;

/// Interval of layers with global attention, where the file does not state which they are.
const PATTERN: usize = 6;

/// The tensor with the divisors of global layers.
const FACTORS: &str = "rope_freqs.weight";

pub(super) fn gemma4(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    let layers = config.layers;
    rms(keys, config)?;
    config.family = "gemma4_text".into();
    config.act = Activation::GeluTanh;
    config.embed_scale = Some((config.d_model as f64).sqrt());
    config.post_norm = true;
    config.qk_norm = QkNorm::Head;
    config.value_norm = true;
    config.score_scale = 1.0;
    config.logit_cap = keys.maybe_float("final_logit_softcapping")?.filter(|cap| *cap != 0.0);
    config.windows = windows(keys, layers, window(keys, None)?, PATTERN)?;
    config.layer_inputs = keys.maybe_size("embedding_length_per_layer_input")?.filter(|width| *width > 0);
    config.layer_scale = source.shape("blk.0.layer_output_scale.weight").is_some();

    // What is stated without a name of its own is that of global layers.
    let global = config.d_head;
    let own = keys.maybe_size("attention.key_length_swa")?.unwrap_or(global);
    if keys.maybe_size("attention.value_length_swa")?.is_some_and(|values| values != own) {
        bail!(Format, "expected values as long as keys, {own}, in layers with a window, found others");
    }
    let whole = rotary(keys, global, false)?;
    let scaling = if source.shape(FACTORS).is_some() {
        found.ignored.push(FACTORS.into());
        rope::proportional(&source.tensor(FACTORS)?, global).map_err(|e| e.within(FACTORS))?
    } else {
        Scaling::None
    };
    let local = Rotary {
        dims: keys.maybe_size("rope.dimension_count_swa")?.unwrap_or(own),
        theta: keys.maybe_float("rope.freq_base_swa")?.unwrap_or(10_000.0),
        neighbours: false,
        scaling: Scaling::None,
    };
    config.rotary = Some(Rotary { scaling, ..whole });
    config.rotary_local = Some(local).filter(|_| !config.windows.is_empty());
    config.d_head = own;

    let heads = keys.sizes("attention.head_count_kv", layers)?.unwrap_or_else(|| vec![config.heads; layers]);
    let windows = config.windows.clone();
    let has_window = |layer: usize| windows.get(layer).copied().flatten().is_some();
    config.kv_heads = alike("attention.head_count_kv", &heads, has_window)?.unwrap_or(config.heads);
    let kv_heads = alike("attention.head_count_kv", &heads, |layer| !has_window(layer))?.unwrap_or(config.kv_heads);
    let lacks_values = |layer: &usize| {
        let has = |part: &str| source.shape(&format!("blk.{layer}.{part}.weight")).is_some();
        !has_window(*layer) && has("attn_k") && !has("attn_v")
    };
    let values_are_keys = (0..layers).any(|layer| lacks_values(&layer));
    config.global_heads = Some(GlobalHeads { kv_heads, d_head: global, values_are_keys });

    let shared = keys.maybe_size("attention.shared_kv_layers")?.unwrap_or(0).min(layers);
    let widths = keys.sizes("feed_forward_length", layers)?.unwrap_or_default();
    let first_shared = layers - shared;
    config.d_mlp = alike("feed_forward_length", &widths, |layer| layer < first_shared)?.unwrap_or(config.d_mlp);
    let d_mlp = alike("feed_forward_length", &widths, |layer| layer >= first_shared)?.unwrap_or(config.d_mlp);
    config.shared_keys = (shared > 0).then_some(SharedKeys { layers: shared, d_mlp });
    config.experts = mixtures::experts(keys, config)?.map(|experts| Experts { beside: true, ..experts });
    // Converted files have keys and values of layers that read those of others, too.
    for layer in first_shared..layers {
        found.ignored.extend(["attn_k", "attn_v", "attn_k_norm"].map(|part| format!("blk.{layer}.{part}.weight")));
    }
    Ok(())
}

/// Returns the size that a key has for all of some layers; different ones are refused.
fn alike(key: &str, sizes: &[usize], is_meant: impl Fn(usize) -> bool) -> Result<Option<usize>> {
    let mut meant = sizes.iter().enumerate().filter(|(layer, _)| is_meant(*layer)).map(|(_, size)| *size);
    let Some(first) = meant.next() else { return Ok(None) };
    match meant.find(|size| *size != first) {
        Some(other) => {
            bail!(Format, "`{key}` has {first} and {other} for layers of one kind, which is not implemented")
        }
        None => Ok(Some(first)),
    }
}
