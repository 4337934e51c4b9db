//! Qwen 3.5 in GGUF files, whose converter has added the 1 of its norms to their weights.

use super::common::{Architecture, rms, rotary};
use super::keys::GgufKeys;
use super::mixtures;
use crate::common::*;
use crate::model::config::{DeltaNets, QkNorm};

/// Default interval of layers with attention.
const INTERVAL: usize = 4;

pub(super) fn qwen35(keys: &GgufKeys, found: &mut Architecture) -> Result<()> {
    found.mlp_norm_behind_attention = true;
    // `attn_qkv` is that of delta nets.
    found.fused_qkv = false;
    let config = &mut found.config;
    rms(keys, config)?;
    config.family = "qwen3_5_text".into();
    config.gated_heads = true;
    config.qk_norm = QkNorm::Head;
    config.rotary = Some(rotary(keys, config.d_head, false)?);
    // Sections of the rotation differ for pictures only: a text has one position in the first three, and none has the last.
    if keys.numbers("rope.dimension_sections")?.is_some_and(|sections| sections.get(3).is_some_and(|last| *last != 0)) {
        bail!(Format, "expected no fourth section in `rope.dimension_sections`, found one");
    }
    config.delta = delta_nets(keys, config.layers, found.all_layers)?;
    if keys.architecture == "qwen35moe" {
        config.family = "qwen3_5_moe_text".into();
        let mut experts = mixtures::needed(keys, config)?;
        let shared = keys.maybe_size("expert_shared_feed_forward_length")?;
        experts.shared = Some(shared.unwrap_or(config.d_mlp));
        // No layer has a plain MLP.
        config.d_mlp = experts.d_mlp;
        config.experts = Some(experts);
    }
    Ok(())
}

/// Reads the delta nets, if any of these layers has one; `all` are those of the file.
fn delta_nets(keys: &GgufKeys, layers: usize, all: usize) -> Result<Option<DeltaNets>> {
    let interval = keys.maybe_size("full_attention_interval")?.unwrap_or(INTERVAL);
    let stated = keys.maybe_layers("attention.recurrent_layers", all)?;
    let is_net = |layer: &usize| match &stated {
        Some(stated) => stated[*layer],
        None => interval == 0 || !(layer + 1).is_multiple_of(interval),
    };
    let value_heads = keys.size("ssm.time_step_rank")?;
    let values = keys.size("ssm.inner_size")?;
    let key_heads = keys.size("ssm.group_count")?;
    if value_heads == 0
        || key_heads == 0
        || !value_heads.is_multiple_of(key_heads)
        || !values.is_multiple_of(value_heads)
    {
        bail!(
            Format,
            "expected value heads of delta nets that key heads, {key_heads}, divide, found {value_heads} for {values} values"
        );
    }
    let nets = DeltaNets {
        layers: (0..layers).filter(is_net).collect(),
        key_heads,
        value_heads,
        d_key: keys.size("ssm.state_size")?,
        d_value: values / value_heads,
        kernel: keys.size("ssm.conv_kernel")?,
    };
    Ok((!nets.layers.is_empty()).then_some(nets))
}
