//! State dictionaries of TransformerLens: many published toy models exist only in this form, as `.pt` or safetensors.
//!
//! They contain no config. It is inferred from shapes and names, and from options by TransformerLens' names or ours;
//! what neither tells has TransformerLens' default, or is asked for in an error.

mod export;
mod infer;
mod options;

pub use self::export::{names, weight};
use self::options::StateOptions;
use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::{Layout, TensorSource, WeightFrom};

const EMBED: &str = "embed.W_E";

/// Masks and rotary tables.
const BUFFERS: [&str; 4] =
    ["blocks.*.attn.mask", "blocks.*.attn.IGNORE", "blocks.*.attn.rotary_sin", "blocks.*.attn.rotary_cos"];

/// The layout of the matrices of a state dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MatrixLayout {
    /// Matrices as all versions of TransformerLens have them.
    Now,
    /// Matrices as the code that TransformerLens grew out of has them (Nanda et al. 2023, "Progress measures for
    /// grokking"): all but those of the unembedding and the positions are `[out, in]`, those of heads
    /// `[heads, d_head, in]`, and `W_O` has two axes.
    Early,
}

impl MatrixLayout {
    fn of(source: &dyn TensorSource) -> Self {
        let axes = source.shape("blocks.0.attn.W_O").map(|shape| shape.len());
        if axes == Some(2) { MatrixLayout::Early } else { MatrixLayout::Now }
    }
}

/// Returns whether these tensors have TransformerLens' names.
pub fn is_state_dict(source: &dyn TensorSource) -> bool {
    source.shape(EMBED).is_some()
}

/// Reads the config of a state dictionary, completed by options, and where each weight is.
pub fn layout(source: &dyn TensorSource, options: &Map<String, Value>) -> Result<Layout> {
    let given = StateOptions::new(options)?;
    let config = infer::config(source, &given)?;
    let mut ignored: Vec<String> = BUFFERS.map(str::to_string).into();
    if config.gated {
        ignored.extend(infer::empty_biases(source, &config)?);
    }
    let age = MatrixLayout::of(source);
    let mut weights = BTreeMap::new();
    for (name, _) in config.parameters()? {
        let from = place(&name, &config, age)
            .ok_or_else(|| err!(Bug, "the weight `{name}` has no name in state dictionaries of TransformerLens"))?;
        weights.insert(name, from);
    }
    Ok(Layout { config, weights, ignored })
}

/// Returns where the weight with this name of ours is.
fn place(name: &str, config: &Config, age: MatrixLayout) -> Option<WeightFrom> {
    let from = match name {
        "embed" => WeightFrom::Same(EMBED.into()),
        "embed_norm.weight" => WeightFrom::Same("embed.ln.w".into()),
        "embed_norm.bias" => WeightFrom::Same("embed.ln.b".into()),
        "pos_embed" => WeightFrom::Same("pos_embed.W_pos".into()),
        "final_norm.weight" => WeightFrom::Same("ln_final.w".into()),
        "final_norm.bias" => WeightFrom::Same("ln_final.b".into()),
        "unembed.weight" => WeightFrom::Transposed("unembed.W_U".into()),
        "unembed.bias" => WeightFrom::Same("unembed.b_U".into()),
        _ => {
            let (layer, part) = name.strip_prefix("blocks.")?.split_once('.')?;
            of_block(&format!("blocks.{layer}."), part, config)?
        }
    };
    Some(if age == MatrixLayout::Early { turned_early(from) } else { from })
}

/// Returns where a weight is in the layout of the early code.
fn turned_early(from: WeightFrom) -> WeightFrom {
    match from {
        WeightFrom::Same(name) if name == EMBED => WeightFrom::Transposed(name),
        WeightFrom::Transposed(name) if name.starts_with("blocks.") => WeightFrom::Same(name),
        WeightFrom::HeadsOut(name) => WeightFrom::HeadRows(name),
        WeightFrom::HeadsIn(name) => WeightFrom::Same(name),
        other => other,
    }
}

fn of_block(at: &str, part: &str, config: &Config) -> Option<WeightFrom> {
    let named = |name: &str| format!("{at}{name}");
    // With fewer key-value heads than query heads, their names begin with an underscore.
    let narrow = if config.is_grouped() { "_" } else { "" };
    Some(match part {
        "attn_norm.weight" => WeightFrom::Same(named("ln1.w")),
        "attn_norm.bias" => WeightFrom::Same(named("ln1.b")),
        "mlp_norm.weight" => WeightFrom::Same(named("ln2.w")),
        "mlp_norm.bias" => WeightFrom::Same(named("ln2.b")),
        "attn_post_norm.weight" => WeightFrom::Same(named("ln1_post.w")),
        "attn_post_norm.bias" => WeightFrom::Same(named("ln1_post.b")),
        "mlp_post_norm.weight" => WeightFrom::Same(named("ln2_post.w")),
        "mlp_post_norm.bias" => WeightFrom::Same(named("ln2_post.b")),
        // Those of latent attention read no stream.
        "attn.k.weight" | "attn.v.weight" if config.latent.is_some() => return None,
        "attn.q.weight" if config.latent.as_ref().is_some_and(|latent| latent.q_rank.is_some()) => return None,
        "attn.q.weight" => WeightFrom::HeadsOut(named("attn.W_Q")),
        "attn.q.bias" => WeightFrom::Flat(named("attn.b_Q")),
        "attn.k.weight" => WeightFrom::HeadsOut(named(&format!("attn.{narrow}W_K"))),
        "attn.k.bias" => WeightFrom::Flat(named(&format!("attn.{narrow}b_K"))),
        "attn.v.weight" => WeightFrom::HeadsOut(named(&format!("attn.{narrow}W_V"))),
        "attn.v.bias" => WeightFrom::Flat(named(&format!("attn.{narrow}b_V"))),
        "attn.o.weight" => WeightFrom::HeadsIn(named("attn.W_O")),
        "attn.o.bias" => WeightFrom::Same(named("attn.b_O")),
        "mlp.gate.weight" => WeightFrom::Transposed(named("mlp.W_gate")),
        "mlp.up.weight" => WeightFrom::Transposed(named("mlp.W_in")),
        "mlp.up.bias" => WeightFrom::Same(named("mlp.b_in")),
        "mlp.down.weight" => WeightFrom::Transposed(named("mlp.W_out")),
        "mlp.down.bias" => WeightFrom::Same(named("mlp.b_out")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
