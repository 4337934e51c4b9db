//! Layouts of GGUF files: where each of our weights is.

use std::collections::BTreeMap;

use super::architectures::{self, Architecture};
use super::keys::GgufKeys;
use super::{GgufFile, names};
use crate::base::Result;
use crate::model::config::Config;
use crate::model::layout::{Layout, TensorSource, WeightFrom};
use crate::tensor::files::gguf_value::Value;
use crate::{bail, err};

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
        let from = place(&name, &architecture).ok_or_else(|| {
            err!(Bug, "the weight `{name}` has no name in GGUF files of {}", architecture.config.family)
        })?;
        weights.insert(name, from);
    }
    Ok(Layout { config: architecture.config, weights, ignored: architecture.ignored })
}

/// Returns where the weight with this name of ours is.
fn place(name: &str, architecture: &Architecture) -> Option<WeightFrom> {
    if name == "embed" || name == "pos_embed" {
        return Some(WeightFrom::Same(
            if name == "embed" { "token_embd.weight" } else { "position_embd.weight" }.into(),
        ));
    }
    let (stem, ending) = name.rsplit_once('.')?;
    let Some((layer, part)) = stem.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
        let theirs = if stem == "final_norm" { "output_norm" } else { "output" };
        return Some(WeightFrom::Same(format!("{theirs}.{ending}")));
    };
    let at = |theirs: &str| format!("blk.{layer}.{theirs}.{ending}");
    let rows = |theirs: &str, (start, count)| WeightFrom::Rows { name: at(theirs), start, count };
    let config = &architecture.config;
    Some(match part {
        "attn.q" | "attn.k" | "attn.v" if architecture.fused_qkv => rows("attn_qkv", qkv_rows(part, config)),
        "mlp.gate" if architecture.fused_gate => rows("ffn_up", (0, config.d_mlp)),
        "mlp.up" if architecture.fused_gate => rows("ffn_up", (config.d_mlp, config.d_mlp)),
        _ => WeightFrom::Same(at(names::theirs(part)?)),
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
