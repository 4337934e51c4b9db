//! Keys that the configs of all families have, under different names: sizes, norms, tokens and windows.

use super::check;
use super::keys::Keys;
use crate::common::*;
use crate::model::config::{Alibi, Config, NormKind, Positions};

/// The keys of a family, and transformers' defaults for them.
pub struct Common {
    pub family: &'static str,
    pub vocab: usize,
    pub d_model: (&'static str, usize),
    pub layers: (&'static str, usize),
    pub heads: (&'static str, usize),
    /// Number of key-value heads; by default that of the query heads. An empty name where the family has no such key.
    pub kv_heads: (&'static str, Option<usize>),
    /// Size of a head; by default an equal part of the residual stream. An empty name where the family has no such key.
    pub d_head: (&'static str, Option<usize>),
    /// Width of an MLP; by default four times that of the residual stream. An empty name where the family has no such key.
    pub d_mlp: (&'static str, Option<usize>),
    pub context: (&'static str, usize),
    /// Activation function; an empty name where the family has no such key.
    pub act: (&'static str, &'static str),
    pub norm: NormKind,
    /// Small number that norms add to the variance; an empty name where the family has no such key.
    pub eps: (&'static str, f64),
    pub tied: bool,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
}

/// Sizes of a model, which transformers takes where nothing is stated.
pub struct Sizes {
    pub vocab: usize,
    pub d_model: usize,
    pub layers: usize,
    pub heads: usize,
    pub d_mlp: usize,
    pub context: usize,
}

impl Common {
    /// Returns the names that most families use; the sizes are still to be set.
    pub const fn modern(family: &'static str, norm: NormKind) -> Self {
        let eps = match norm {
            NormKind::Rms => ("rms_norm_eps", 1e-6),
            NormKind::Layer => ("layer_norm_eps", 1e-5),
        };
        Self {
            family,
            vocab: 0,
            d_model: ("hidden_size", 0),
            layers: ("num_hidden_layers", 0),
            heads: ("num_attention_heads", 0),
            kv_heads: ("", None),
            d_head: ("", None),
            d_mlp: ("intermediate_size", None),
            context: ("max_position_embeddings", 0),
            act: ("hidden_act", "silu"),
            norm,
            eps,
            tied: false,
            bos: None,
            eos: None,
        }
    }

    /// Returns the names of llama's keys, which are those of most families with RMS norms. `kv_heads`: their number by default,
    /// that of the query heads where there is none.
    pub const fn like_llama(family: &'static str, kv_heads: Option<usize>) -> Self {
        Self {
            kv_heads: ("num_key_value_heads", kv_heads),
            d_head: ("head_dim", None),
            ..Self::modern(family, NormKind::Rms)
        }
    }

    /// Sets the sizes.
    pub const fn sized(self, sizes: Sizes) -> Self {
        Self {
            vocab: sizes.vocab,
            d_model: (self.d_model.0, sizes.d_model),
            layers: (self.layers.0, sizes.layers),
            heads: (self.heads.0, sizes.heads),
            d_mlp: (self.d_mlp.0, Some(sizes.d_mlp)),
            context: (self.context.0, sizes.context),
            ..self
        }
    }

    /// Reads a decoder of these sizes with a norm before attention and MLP, no positions, and no biases but those of
    /// the norms.
    pub fn read(&self, keys: &mut Keys) -> Result<Config> {
        let d_model = keys.size(self.d_model.0, self.d_model.1)?;
        let heads = keys.size(self.heads.0, self.heads.1)?;
        let kv_heads = maybe(keys, self.kv_heads)?.unwrap_or(heads);
        let d_head = match self.d_head {
            (name, Some(default)) => Some(keys.size(name, default)?),
            by_stream => maybe(keys, by_stream)?,
        };
        let d_mlp = maybe(keys, self.d_mlp)?.unwrap_or(d_model.saturating_mul(4));
        let norm_eps = if self.eps.0.is_empty() { self.eps.1 } else { keys.number(self.eps.0, self.eps.1)? };
        let layers = keys.size(self.layers.0, self.layers.1)?;
        check::size("layers", layers, 0, check::MOST_LAYERS)?;
        let config = Config {
            layers,
            d_model,
            heads,
            kv_heads,
            d_mlp,
            vocab: keys.size("vocab_size", self.vocab)?,
            context: keys.size(self.context.0, self.context.1)?,
            act: keys.activation(self.act.0, self.act.1)?,
            norm: Some(self.norm),
            norm_eps,
            norm_bias: self.norm == NormKind::Layer,
            tied: keys.flag("tie_word_embeddings", self.tied)?,
            bos: keys.token("bos_token_id", self.bos)?,
            eos: keys.tokens("eos_token_id", self.eos)?,
            ..Config::plain(self.family)
        };
        Ok(with_head_size(config, d_head))
    }
}

/// Reads a size that may be null, by its name and its default; an empty name is that of no key.
fn maybe(keys: &mut Keys, (name, default): (&'static str, Option<usize>)) -> Result<Option<usize>> {
    if name.is_empty() { Ok(default) } else { keys.maybe_size(name, default) }
}

/// Sets the size of a head, an equal part of the residual stream unless it is stated, and the matching scale of scores.
/// A size that is not divisible gives 0, which [`Config::checked`] refuses.
pub fn with_head_size(config: Config, stated: Option<usize>) -> Config {
    let divides = config.heads > 0 && config.d_model.is_multiple_of(config.heads);
    let part = if divides { config.d_model / config.heads } else { 0 };
    let d_head = stated.unwrap_or(part);
    Config { d_head, score_scale: (d_head.max(1) as f64).powf(-0.5), ..config }
}

/// Adds biases of scores to a config, in place of positions in the stream.
pub fn with_alibi(config: Config, alibi: Alibi) -> Config {
    Config { positions: Positions::Alibi, alibi: Some(alibi), ..config }
}

/// Reads the size of windows that a config states and, apart from that, switches on.
pub fn switched_window(keys: &mut Keys, default: Option<usize>) -> Result<Option<usize>> {
    let stated = keys.maybe_size("sliding_window", default)?;
    Ok(if keys.flag("use_sliding_window", false)? { stated } else { None })
}

/// Reads the windows that `layer_types` states, or else gives one to the layers for which `slides` holds.
pub fn windows(
    keys: &mut Keys,
    layers: usize,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    let Some(types) = keys.words("layer_types")? else {
        let all: Vec<_> = (0..layers).map(|layer| window.filter(|_| slides(layer))).collect();
        return Ok(none_is_empty(all));
    };
    if types.len() != layers {
        return Err(err!(Format, "expected {layers} `layer_types`, one for each layer, found {}", types.len()));
    }
    let of_type = |name: &&str| match *name {
        "full_attention" => Ok(None),
        "sliding_attention" => match window {
            Some(window) => Ok(Some(window)),
            None => Err(err!(Format, "`layer_types` has a sliding_attention, and there is no `sliding_window`")),
        },
        other => Err(err!(Format, "the layer type `{other}` of `layer_types` is not implemented")
            .hint("expected full_attention or sliding_attention")),
    };
    Ok(none_is_empty(types.iter().map(of_type).collect::<Result<_>>()?))
}

/// Returns the layers whose type is one of the first, where others are of the second. `hint` lists all types.
pub fn layers_of(types: &[&str], layers: usize, [first, second]: [&[&str]; 2], hint: &str) -> Result<Vec<usize>> {
    if types.len() != layers {
        return Err(err!(Format, "expected {layers} `layer_types`, one for each layer, found {}", types.len()));
    }
    match types.iter().copied().find(|name| !first.contains(name) && !second.contains(name)) {
        Some(other) => Err(err!(Format, "the layer type `{other}` of `layer_types` is not implemented").hint(hint)),
        None => Ok((0..layers).filter(|layer| first.contains(&types[*layer])).collect()),
    }
}

/// Returns the same window for every layer.
pub fn same_window(layers: usize, window: Option<usize>) -> Vec<Option<usize>> {
    none_is_empty(vec![window; layers])
}

pub fn none_is_empty(windows: Vec<Option<usize>>) -> Vec<Option<usize>> {
    if windows.iter().any(Option::is_some) { windows } else { Vec::new() }
}
