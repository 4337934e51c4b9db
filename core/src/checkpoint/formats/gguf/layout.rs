//! Layouts of GGUF files: where each of our weights is.

use super::architectures;
use super::common::Architecture;
use super::keys::GgufKeys;
use super::{GgufFile, delta, latent, names, rwkv7, state_spaces};
use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::{Layout, StepBack, TensorSource, WeightFrom};
use crate::tensor::files::gguf_value::Value;

impl<B: AsRef<[u8]>> GgufFile<B> {
    /// Reads the config that the metadata state, and where the file has its weights.
    pub fn layout(&self) -> Result<Layout> {
        if let Some(split) = self.split()? {
            bail!(Format, "this file is part {} of a model in {} files", split.number + 1, split.count);
        }
        layout(&self.metadata, self)
    }
}

pub(super) fn layout(metadata: &BTreeMap<String, Value>, source: &dyn TensorSource) -> Result<Layout> {
    let architecture = architectures::read(&GgufKeys::new(metadata)?, source)?;
    let mut weights = BTreeMap::new();
    for (name, _) in architecture.config.parameters()? {
        let from = place(&name, &architecture, source).ok_or_else(|| {
            err!(Bug, "the weight `{name}` has no name in GGUF files of {}", architecture.config.family)
        })?;
        weights.insert(name, from);
    }
    Ok(Layout { config: architecture.config, weights, ignored: architecture.ignored })
}

/// Returns where the weight with this name of ours is.
fn place(name: &str, architecture: &Architecture, source: &dyn TensorSource) -> Option<WeightFrom> {
    let ends = ["weight", "bias"].into_iter().find_map(|ending| {
        let stem = name.strip_suffix(ending)?.strip_suffix('.')?;
        Some((stem, ending))
    });
    let (stem, ending) = ends.unwrap_or((name, "weight"));
    let Some((layer, part)) = stem.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
        return Some(WeightFrom::Same(names::outside(stem, ending)?));
    };
    if let Some((expert, part)) = part.strip_prefix("mlp.experts.").and_then(|rest| rest.split_once('.')) {
        return of_expert(architecture, source, layer, expert, part, ending);
    }
    let whole = |theirs: &str| format!("blk.{layer}.{theirs}");
    let rows =
        |theirs: &str, (start, count)| WeightFrom::Rows { name: whole(&format!("{theirs}.{ending}")), start, count };
    let config = &architecture.config;
    if let Some(net) = &config.delta
        && part.starts_with("delta.")
    {
        return delta::place(part, net, config.d_model, whole(&names::theirs(part, ending)?));
    }
    if let (Some(ssm), Some(part)) = (&config.ssm, part.strip_prefix("ssm.")) {
        return state_spaces::place(part, ending, ssm, source, whole);
    }
    if let Some(rwkv) = &config.rwkv {
        return rwkv7::place(part, ending, rwkv, whole);
    }
    if let (Some(_), Some(part)) = (&config.latent, part.strip_prefix("attn.")) {
        return latent::place(part, ending, config, source, whole);
    }
    Some(match part {
        "attn.q" | "attn.gate" if config.gated_heads => WeightFrom::OfEachHead {
            name: whole(&names::theirs("attn.q", ending)?),
            heads: config.heads,
            parts: 2,
            part: usize::from(part == "attn.gate"),
        },
        "attn.q" | "attn.k" | "attn.v" if architecture.fused_qkv => rows("attn_qkv", qkv_rows(part, config)),
        "mlp.gate" if architecture.fused_gate => rows("ffn_up", (0, config.d_mlp)),
        "mlp.up" if architecture.fused_gate => rows("ffn_up", (config.d_mlp, config.d_mlp)),
        "mlp_norm" if architecture.mlp_norm_behind_attention => {
            WeightFrom::Same(whole(&names::theirs("attn_post_norm", ending)?))
        }
        "attn_norm" if architecture.attn_norm_is_second => WeightFrom::Same(whole(&format!("attn_norm_2.{ending}"))),
        "mlp_norm" if architecture.attn_norm_is_second => WeightFrom::Same(whole(&format!("attn_norm.{ending}"))),
        // The converter drops axes of size 1.
        "mlp.shared_gate" => WeightFrom::Rewritten {
            name: whole(&names::theirs(part, ending)?),
            whole: vec![config.d_model],
            back: vec![StepBack::Unsqueezed(0)],
        },
        _ => WeightFrom::Same(whole(&names::theirs(part, ending)?)),
    })
}

/// Returns where a weight of one expert is: among the rows of one tensor of all experts.
fn of_expert(
    architecture: &Architecture,
    source: &dyn TensorSource,
    layer: &str,
    expert: &str,
    part: &str,
    ending: &str,
) -> Option<WeightFrom> {
    let at = |theirs: &str| format!("blk.{layer}.{theirs}.{ending}");
    let both = at("ffn_gate_up_exps");
    let is_fused = part != "down" && source.shape(&both).is_some();
    Some(WeightFrom::RowsOfExpert {
        name: if is_fused { both } else { at(&format!("ffn_{part}_exps")) },
        expert: expert.parse().ok()?,
        experts: architecture.config.experts.as_ref()?.count,
        part: usize::from(is_fused && part == "up"),
        parts: if is_fused { 2 } else { 1 },
    })
}

/// Returns the first row of queries, keys or values in a fused tensor, and their number of rows.
fn qkv_rows(part: &str, config: &Config) -> (usize, usize) {
    let wide = config.heads * config.d_head;
    let narrow = config.kv_heads * config.d_head;
    match part {
        "attn.q" => (0, wide),
        "attn.k" => (wide, narrow),
        _ => (wide + narrow, narrow),
    }
}
