//! State dictionaries of TransformerLens: many published toy models exist only so, as `.pt` or safetensors.
//!
//! They say nothing of the config. What shapes and names show is taken from them, what is left is given as options, by
//! TransformerLens' names or ours; what neither says has the value that TransformerLens gives it, or is asked for.

mod given;
mod infer;
mod named;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::given::Given;
pub use self::named::weight;
use crate::base::Result;
use crate::err;
use crate::model::config::Config;
use crate::model::layout::{From, Layout, Source};

const EMBED: &str = "embed.W_E";

/// Masks and rotary tables.
const BUFFERS: [&str; 4] =
    ["blocks.*.attn.mask", "blocks.*.attn.IGNORE", "blocks.*.attn.rotary_sin", "blocks.*.attn.rotary_cos"];

/// How a state dictionary lays out its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// As all versions of TransformerLens do.
    Now,
    /// As the code that it grew out of does (Nanda et al. 2023, "Progress measures for grokking"): all matrices but those
    /// of the unembedding and the positions are `[out, in]`, those of heads `[heads, d_head, in]`, and `W_O` has two axes.
    Early,
}

impl Age {
    fn of(source: &dyn Source) -> Self {
        let axes = source.shape("blocks.0.attn.W_O").map(|shape| shape.len());
        if axes == Some(2) { Age::Early } else { Age::Now }
    }
}

/// Whether these tensors are called as TransformerLens calls them.
pub fn is_state_dict(source: &dyn Source) -> bool {
    source.shape(EMBED).is_some()
}

/// The config of a state dictionary, helped out by options, and where each weight lies.
pub fn layout(source: &dyn Source, options: &Map<String, Value>) -> Result<Layout> {
    let given = Given::new(options)?;
    let config = infer::config(source, &given)?;
    let mut ignored: Vec<String> = BUFFERS.map(str::to_string).into();
    if config.gated {
        ignored.extend(infer::empty_biases(source, &config)?);
    }
    let (age, mut weights) = (Age::of(source), BTreeMap::new());
    for (name, _) in config.parameters()? {
        let from = place(&name, &config, age)
            .ok_or_else(|| err!(Bug, "the weight `{name}` has no name in state dictionaries of TransformerLens"))?;
        weights.insert(name, from);
    }
    Ok(Layout { config, weights, ignored })
}

/// Where the weight with this name of ours lies.
fn place(name: &str, config: &Config, age: Age) -> Option<From> {
    let from = match name {
        "embed" => From::Same(EMBED.into()),
        "pos_embed" => From::Same("pos_embed.W_pos".into()),
        "final_norm.weight" => From::Same("ln_final.w".into()),
        "final_norm.bias" => From::Same("ln_final.b".into()),
        "unembed.weight" => From::Transposed("unembed.W_U".into()),
        "unembed.bias" => From::Same("unembed.b_U".into()),
        _ => {
            let (layer, part) = name.strip_prefix("blocks.")?.split_once('.')?;
            of_block(&format!("blocks.{layer}."), part, config)?
        }
    };
    Some(if age == Age::Early { turned_early(from) } else { from })
}

/// The same weight as the early code lays it out.
fn turned_early(from: From) -> From {
    match from {
        From::Same(name) if name == EMBED => From::Transposed(name),
        From::Transposed(name) if name.starts_with("blocks.") => From::Same(name),
        From::HeadsOut(name) => From::HeadRows(name),
        From::HeadsIn(name) => From::Same(name),
        other => other,
    }
}

fn of_block(at: &str, part: &str, config: &Config) -> Option<From> {
    let named = |name: &str| format!("{at}{name}");
    // Fewer heads of keys and values than of queries are kept under names with a line before them.
    let narrow = if config.kv_heads < config.heads { "_" } else { "" };
    Some(match part {
        "attn_norm.weight" => From::Same(named("ln1.w")),
        "attn_norm.bias" => From::Same(named("ln1.b")),
        "mlp_norm.weight" => From::Same(named("ln2.w")),
        "mlp_norm.bias" => From::Same(named("ln2.b")),
        "attn_post_norm.weight" => From::Same(named("ln1_post.w")),
        "attn_post_norm.bias" => From::Same(named("ln1_post.b")),
        "mlp_post_norm.weight" => From::Same(named("ln2_post.w")),
        "mlp_post_norm.bias" => From::Same(named("ln2_post.b")),
        "attn.q.weight" => From::HeadsOut(named("attn.W_Q")),
        "attn.q.bias" => From::Flat(named("attn.b_Q")),
        "attn.k.weight" => From::HeadsOut(named(&format!("attn.{narrow}W_K"))),
        "attn.k.bias" => From::Flat(named(&format!("attn.{narrow}b_K"))),
        "attn.v.weight" => From::HeadsOut(named(&format!("attn.{narrow}W_V"))),
        "attn.v.bias" => From::Flat(named(&format!("attn.{narrow}b_V"))),
        "attn.o.weight" => From::HeadsIn(named("attn.W_O")),
        "attn.o.bias" => From::Same(named("attn.b_O")),
        "mlp.gate.weight" => From::Transposed(named("mlp.W_gate")),
        "mlp.up.weight" => From::Transposed(named("mlp.W_in")),
        "mlp.up.bias" => From::Same(named("mlp.b_in")),
        "mlp.down.weight" => From::Transposed(named("mlp.W_out")),
        "mlp.down.bias" => From::Same(named("mlp.b_out")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
