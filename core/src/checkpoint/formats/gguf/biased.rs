//! Bloom, MPT and Falcon: layer norms, an MLP without a gate, and biases of scores in the first two.

use super::common::{Architecture, gpt, rotary};
use super::keys::GgufKeys;
use crate::common::*;
use crate::model::config::{Activation, Alibi, Config, Order, Positions};
use crate::model::layout::TensorSource;

/// The exponent of the flattest slope of Bloom, which the file does not state.
const MOST: f64 = 8.0;

fn biased(config: &mut Config, most: f64) {
    config.positions = Positions::Alibi;
    config.alibi = Some(Alibi { most, scaled: false, rounded: false });
}

pub(super) fn bloom(keys: &GgufKeys, config: &mut Config) -> Result<()> {
    gpt(keys, config)?;
    config.act = Activation::GeluTanh;
    config.embed_norm = true;
    biased(config, MOST);
    Ok(())
}

pub(super) fn mpt(keys: &GgufKeys, source: &dyn TensorSource, config: &mut Config) -> Result<()> {
    gpt(keys, config)?;
    config.norm_bias = source.shape("blk.0.attn_norm.bias").is_some();
    if let Some(most) = keys.maybe_float("attention.clamp_kqv")?.filter(|most| *most != 0.0) {
        bail!(Format, "bounds of queries, keys and values are not implemented, found `attention.clamp_kqv` {most}");
    }
    let most = keys.float("attention.max_alibi_bias")?;
    if most == 0.0 {
        bail!(Format, "MPT without biases of scores is not implemented, found `attention.max_alibi_bias` 0");
    }
    biased(config, most);
    Ok(())
}

/// Reads what Falcon adds. The converter writes no model that has biases of scores in a form of its own: such a one has a norm
/// behind attention, which is refused as a tensor that nobody reads.
pub(super) fn falcon(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    gpt(keys, config)?;
    keys.maybe_text("tensor_data_layout")?;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    found.attn_norm_is_second = source.shape("blk.0.attn_norm_2.weight").is_some();
    config.order = if found.attn_norm_is_second { Order::Parallel } else { Order::ParallelShared };
    Ok(())
}
