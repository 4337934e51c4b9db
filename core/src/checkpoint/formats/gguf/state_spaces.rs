//! Mamba, Mamba 2, Falcon Mamba and Granite 4 in GGUF files. The converter has the rates of decay themselves, with the
//! opposite sign, leaves out an axis of convolutions, and keeps rates and norms of Mamba 2 as matrices.

use super::common::{Architecture, rms, rotary};
use super::keys::GgufKeys;
use super::{mixtures, names, plain};
use crate::common::*;
use crate::model::config::{Experts, Positions, StateSpaces};
use crate::model::layout::{StepBack, TensorSource, WeightFrom};

/// The small number of the norms inside Falcon Mamba's layers, which the file does not state; llama.cpp takes that of the
/// norms before them.
const INNER_EPS: f64 = 1e-6;

/// The width of the expert that reads every token, and in files without experts that of MLPs.
const SHARED: &str = "expert_shared_feed_forward_length";

/// Returns whether an architecture has no attention in any layer.
pub(super) fn is_without_attention(architecture: &str) -> bool {
    ["mamba", "mamba2", "rwkv7"].contains(&architecture)
}

/// Reads a state space in every layer, and nothing else.
pub(super) fn mamba(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    rms(keys, config)?;
    config.positions = Positions::None;
    config.gated = false;
    let layers: Vec<usize> = (0..config.layers).collect();
    let ssm = if keys.architecture == "mamba2" {
        with_heads(keys, source, layers)?
    } else {
        let has_norms = keys.flag("ssm.dt_b_c_rms", false)?;
        config.family = if has_norms { "falcon_mamba" } else { "mamba" }.into();
        StateSpaces {
            heads: keys.size("ssm.inner_size")?,
            d_head: 1,
            groups: 1,
            dt_rank: Some(keys.size("ssm.time_step_rank")?),
            inner_norm_eps: has_norms.then_some(INNER_EPS),
            ..sizes(keys, source, layers)?
        }
    };
    config.ssm = Some(ssm).filter(|ssm| !ssm.layers.is_empty());
    Ok(())
}

/// Reads what Granite 4 adds to Granite: layers with a state space, and experts. Layers without heads of keys have a state
/// space.
pub(super) fn granite4(keys: &GgufKeys, source: &dyn TensorSource, found: &mut Architecture) -> Result<()> {
    let config = &mut found.config;
    config.family = "granitemoehybrid".into();
    rms(keys, config)?;
    plain::granite_factors(keys, config)?;
    let rotary = rotary(keys, config.d_head, true)?;
    if keys.flag("rope.scaling.finetuned", true)? {
        config.rotary = Some(rotary);
    } else {
        config.positions = Positions::None;
    }
    if keys.architecture == "granitehybrid" {
        let kv_heads = keys.sizes("attention.head_count_kv", config.layers)?.unwrap_or_default();
        if kv_heads.iter().any(|heads| *heads != 0 && *heads != config.kv_heads) {
            bail!(Format, "expected equally many heads of keys in all layers that have any, found {kv_heads:?}");
        }
        let (layers, others): (Vec<usize>, Vec<usize>) =
            (0..config.layers).partition(|layer| kv_heads.get(*layer) == Some(&0));
        let has =
            |part: &str| others.first().is_some_and(|layer| source.shape(&format!("blk.{layer}.{part}")).is_some());
        config.qkv_bias = has("attn_q.bias");
        config.out_bias = has("attn_output.bias");
        config.kv_heads = if others.is_empty() { config.heads } else { config.kv_heads };
        config.ssm = Some(with_heads(keys, source, layers)?).filter(|ssm| !ssm.layers.is_empty());
    } else {
        of_no_layer(keys)?;
    }
    let shared = keys.maybe_size(SHARED)?.filter(|width| *width > 0);
    let experts = mixtures::experts(keys, config)?;
    config.experts = experts.map(|experts| Experts { shared, ungated_shared: shared.is_some(), ..experts });
    config.d_mlp = shared.unwrap_or(config.d_mlp);
    Ok(())
}

/// Reads what files of Granite 4 have where no layer has a state space: the sizes of such, and the width of MLPs once more.
pub(super) fn of_no_layer(keys: &GgufKeys) -> Result<()> {
    for key in ["conv_kernel", "group_count", "inner_size", "state_size", "time_step_rank"] {
        keys.maybe_size(&format!("ssm.{key}"))?;
    }
    let stated = keys.maybe_size(SHARED)?;
    let width = keys.size("feed_forward_length")?;
    match stated {
        Some(other) if keys.architecture == "granite" && other != width => {
            bail!(Format, "expected `{SHARED}` to be the width of MLPs, {width}, found {other}")
        }
        _ => Ok(()),
    }
}

/// Reads state spaces of Mamba 2 in these layers.
fn with_heads(keys: &GgufKeys, source: &dyn TensorSource, layers: Vec<usize>) -> Result<StateSpaces> {
    let heads = keys.size("ssm.time_step_rank")?;
    let inner = keys.size("ssm.inner_size")?;
    if heads == 0 || !inner.is_multiple_of(heads) {
        bail!(Format, "expected heads of state spaces that divide their inputs, {inner}, found {heads}");
    }
    Ok(StateSpaces {
        heads,
        d_head: inner / heads,
        groups: keys.size("ssm.group_count")?,
        ..sizes(keys, source, layers)?
    })
}

/// Reads what both kinds of Mamba state in the same way.
fn sizes(keys: &GgufKeys, source: &dyn TensorSource, layers: Vec<usize>) -> Result<StateSpaces> {
    let has = |part: &str| layers.first().is_some_and(|layer| source.shape(&format!("blk.{layer}.{part}")).is_some());
    let bias = has("ssm_in.bias");
    let conv_bias = has("ssm_conv1d.bias");
    Ok(StateSpaces {
        layers,
        heads: 0,
        d_head: 0,
        groups: 0,
        d_state: keys.size("ssm.state_size")?,
        kernel: keys.size("ssm.conv_kernel")?,
        dt_rank: None,
        dt_least: None,
        dt_most: None,
        inner_norm_eps: None,
        bias,
        conv_bias,
    })
}

/// Returns where a weight of a state space is; `at` makes the whole name of a tensor of the layer. None for a part that no
/// state space has.
pub(super) fn place(
    part: &str,
    ending: &str,
    ssm: &StateSpaces,
    source: &dyn TensorSource,
    at: impl Fn(&str) -> String,
) -> Option<WeightFrom> {
    let wide = ssm.d_inner();
    let narrow = ssm.of_groups();
    let rows = |theirs: &str, start, count| WeightFrom::Rows { name: at(&format!("{theirs}.{ending}")), start, count };
    let name = at(&names::theirs(&format!("ssm.{part}"), ending)?);
    // A file may have left out an axis of size 1.
    let is_matrix = source.shape(&name).is_some_and(|shape| shape.len() == 2);
    let flat = |whole: [usize; 2], then: &[StepBack]| {
        let joined: &[StepBack] = if is_matrix { &[StepBack::Joined] } else { &[] };
        WeightFrom::Rewritten {
            name: name.clone(),
            whole: if is_matrix { whole.to_vec() } else { vec![whole[0] * whole[1]] },
            back: [joined, then].concat(),
        }
    };
    Some(match (part, ssm.dt_rank) {
        ("x", Some(_)) => rows("ssm_in", 0, wide),
        ("gate", Some(_)) => rows("ssm_in", wide, wide),
        ("dt_in", Some(rank)) => rows("ssm_x", 0, rank),
        ("b", Some(rank)) => rows("ssm_x", rank, narrow),
        ("c", Some(rank)) => rows("ssm_x", rank + narrow, narrow),
        ("gate", None) => rows("ssm_in", 0, wide),
        ("x", None) => rows("ssm_in", wide, wide),
        ("b", None) => rows("ssm_in", 2 * wide, narrow),
        ("c", None) => rows("ssm_in", 2 * wide + narrow, narrow),
        ("dt", None) => rows("ssm_in", 2 * wide + 2 * narrow, ssm.heads),
        ("conv", _) if ending == "weight" => {
            let whole = vec![ssm.channels(), ssm.kernel];
            WeightFrom::Rewritten { name, whole, back: vec![StepBack::Unsqueezed(1)] }
        }
        ("log_rate", Some(_)) => {
            let whole = vec![ssm.heads, ssm.d_state];
            WeightFrom::Rewritten { name, whole, back: vec![StepBack::LogOfOpposite] }
        }
        ("log_rate", None) => flat([ssm.heads, 1], &[StepBack::LogOfOpposite]),
        ("skip", None) => flat([ssm.heads, 1], &[]),
        ("norm", None) => flat([ssm.groups, wide / ssm.groups.max(1)], &[]),
        _ => WeightFrom::Same(name),
    })
}
