//! The config of a state dictionary: from its names and shapes, and from what is given.

use super::super::base::{ModelSizes, llama};
use super::options::{StateOptions, wrong};
use super::{EMBED, MatrixLayout};
use crate::common::*;
use crate::model::config::{Activation, Config, NormKind, Order, Positions, Rotary, Scaling};
use crate::model::layout::TensorSource;

/// TransformerLens' default epsilon of norms.
const EPS: f64 = 1e-5;

/// TransformerLens' default base of rotary positions.
const THETA: f64 = 10_000.0;

pub(super) fn config(source: &dyn TensorSource, given: &StateOptions) -> Result<Config> {
    let here = |name: &str| source.shape(name).is_some();
    let sizes = sizes(source, given)?;
    let layers = sizes.layers;
    let d_head = sizes.d_head;
    let narrow = shape::<3>(source, "blocks.0.attn._W_K")?.map(|[heads, _, _]| heads);
    let mut config = Config {
        family: "microtome".into(),
        kv_heads: agreed(given, "n_key_value_heads", narrow.unwrap_or(sizes.heads))?,
        causal: causal(given)?,
        windows: windows(given, layers)?,
        score_scale: score_scale(given, d_head)?,
        score_scale_by_layer: given.flag("scale_attn_by_inverse_layer_idx")?.unwrap_or(false),
        // In TransformerLens, -1 means none.
        score_cap: given.float("attn_scores_soft_cap")?.filter(|cap| *cap > 0.0),
        logit_cap: given.float("output_logits_soft_cap")?.filter(|cap| *cap > 0.0),
        order: if given.flag("parallel_attn_mlp")?.unwrap_or(false) { Order::Parallel } else { Order::Serial },
        qkv_bias: here("blocks.0.attn.b_Q"),
        out_bias: here("blocks.0.attn.b_O"),
        unembed_bias: here("unembed.b_U"),
        ..llama(sizes)
    };
    mlp(source, given, &mut config)?;
    norms(source, given, &mut config)?;
    positions(source, given, &mut config)?;
    outputs(source, given, &mut config)?;
    config.checked()
}

fn mlp(source: &dyn TensorSource, given: &StateOptions, config: &mut Config) -> Result<()> {
    let here = |name: &str| source.shape(name).is_some();
    config.gated = here("blocks.0.mlp.W_gate");
    config.mlp_bias = here("blocks.0.mlp.b_in") && !config.gated;
    let has_mlp = config.has_mlp();
    for (key, shown) in [("gated_mlp", config.gated), ("attn_only", !has_mlp)] {
        if given.flag(key)?.is_some_and(|stated| stated != shown) {
            bail!(Format, "{key}: expected {shown}, as the tensors show, found the opposite");
        }
    }
    if has_mlp {
        config.act = activation(given)?;
    }
    Ok(())
}

/// Reads the number of logits: small models often have fewer than tokens.
fn outputs(source: &dyn TensorSource, given: &StateOptions, config: &mut Config) -> Result<()> {
    let shown = shape::<2>(source, "unembed.W_U")?.map_or(config.vocab, |[_, out]| out);
    let out = agreed(given, "d_vocab_out", shown)?;
    config.vocab_out = (out != config.vocab).then_some(out);
    agreed(given, "d_model", config.d_model)?;
    Ok(())
}

fn sizes(source: &dyn TensorSource, given: &StateOptions) -> Result<ModelSizes> {
    let early = MatrixLayout::of(source) == MatrixLayout::Early;
    let Some([vocab, d_model]) = shape::<2>(source, EMBED)?.map(|embed| turned(embed, early)) else {
        return Err(err!(Format, "expected the tensor `{EMBED}`, found none")
            .hint("this is no state dictionary of TransformerLens"));
    };
    let queries = |layer: usize| format!("blocks.{layer}.attn.W_Q");
    let layers = (0..).take_while(|layer| source.shape(&queries(*layer)).is_some()).count();
    let Some([heads, width, d_head]) = shape::<3>(source, &queries(0))?.map(|[heads, a, b]| {
        let [width, d_head] = turned([a, b], early);
        [heads, width, d_head]
    }) else {
        bail!(Format, "expected the tensor `{}`, found none", queries(0));
    };
    if heads == 0 || d_head == 0 || width != d_model {
        let name = queries(0);
        let wanted = if early { "d_head, d_model" } else { "d_model, d_head" };
        let found = source.shape(&name).unwrap_or_default();
        return Err(err!(Format, "{name}: expected shape [heads, {wanted}] with d_model {d_model}, found {found:?}")
            .hint(
                "where a file has its matrices the other way round, load it with `tensor::load`, `transpose` them, \
                   and write it with `tensor::save`",
            ));
    }
    let d_mlp = shape::<2>(source, "blocks.0.mlp.W_in")?.map_or(0, |inner| turned(inner, early)[1]);
    // A config may state the width of an MLP that an attention-only model does not have.
    let d_mlp = if d_mlp == 0 { 0 } else { agreed(given, "d_mlp", d_mlp)? };
    Ok(ModelSizes {
        layers: agreed(given, "n_layers", layers)?,
        d_model,
        heads: agreed(given, "n_heads", heads)?,
        d_head: agreed(given, "d_head", d_head)?,
        d_mlp,
        vocab: agreed(given, "d_vocab", vocab)?,
        context: context(source, given)?,
    })
}

/// Returns both sizes of a matrix, swapped if it is stored transposed.
fn turned([a, b]: [usize; 2], early: bool) -> [usize; 2] {
    if early { [b, a] } else { [a, b] }
}

/// Returns a size from the shapes of the tensors; if it is also given, both must agree.
fn agreed(given: &StateOptions, key: &str, shown: usize) -> Result<usize> {
    match given.size(key)? {
        Some(size) if size != shown => bail!(Format, "{key}: expected {shown}, as the tensors show, found {size}"),
        _ => Ok(shown),
    }
}

/// Infers the context: the number of position embeddings, or the size of the rotary tables and masks.
fn context(source: &dyn TensorSource, given: &StateOptions) -> Result<usize> {
    if let Some([rows, _]) = shape::<2>(source, "pos_embed.W_pos")? {
        return agreed(given, "n_ctx", rows);
    }
    let tables = ["blocks.0.attn.rotary_sin", "blocks.0.attn.mask"];
    let rows = tables.iter().find_map(|name| source.shape(name)?.first().copied().filter(|rows| *rows > 0));
    match (given.size("n_ctx")?, rows) {
        (Some(size), _) => Ok(size),
        (None, Some(rows)) => Ok(rows),
        (None, None) => Err(missing("n_ctx", "the length of the longest text", "1024")),
    }
}

fn activation(given: &StateOptions) -> Result<Activation> {
    const KNOWN: [&str; 7] = ["relu", "gelu", "gelu_new", "gelu_fast", "gelu_tanh", "gelu_pytorch_tanh", "silu"];
    match given.text("act_fn")? {
        None => Err(missing("act_fn", "the activation function of the MLP", "\"gelu\"")),
        Some("relu") => Ok(Activation::Relu),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_fast" | "gelu_tanh" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some("silu") => Ok(Activation::Silu),
        Some(other) => Err(err!(Format, "act_fn: the activation `{other}` is not known here")
            .maybe_hint(names::suggestion(other, KNOWN))),
    }
}

/// The kind of the norms, and whether they have weights.
type Norms = (Option<NormKind>, bool);

fn norms(source: &dyn TensorSource, given: &StateOptions, config: &mut Config) -> Result<()> {
    let here = |name: &str| source.shape(name).is_some();
    let weight = here("blocks.0.ln1.w");
    let bias = here("blocks.0.ln1.b");
    // In TransformerLens a layer norm with weights has biases, and an RMS norm has none.
    let shown = if bias { NormKind::Layer } else { NormKind::Rms };
    (config.norm, config.norm_weight) = match stated_norms(given, weight)? {
        None if weight => (Some(shown), true),
        None => return Err(missing("normalization_type", "the norm, as its weights are not there", "\"LNPre\"")),
        Some((kind, weights)) if weights != weight || (weight && kind != Some(shown)) => {
            let tensors = match (weight, bias) {
                (false, _) => "no weights of norms",
                (true, true) => "norms with biases",
                (true, false) => "norms without biases",
            };
            let found = given.value("normalization_type").unwrap_or(&Value::Null);
            bail!(Format, "normalization_type: the tensors show {tensors}, and {found} is given");
        }
        Some(stated) => stated,
    };
    config.norm_bias = bias;
    config.norm_eps = given.float("eps")?.unwrap_or(EPS);
    config.post_norm =
        given.flag("use_normalization_before_and_after")?.unwrap_or(false) || here("blocks.0.ln1_post.w");
    if given.flag("final_rms")?.unwrap_or(false) && config.norm != Some(NormKind::Rms) {
        bail!(Format, "final_rms: a last norm of another kind than the others is not known here");
    }
    Ok(())
}

/// Reads the norms from the options. Our option names do not tell whether they have weights, so the tensors do.
fn stated_norms(given: &StateOptions, weight: bool) -> Result<Option<Norms>> {
    Ok(match given.text("normalization_type")? {
        None => given.has("normalization_type").then_some((None, false)),
        Some("none") => Some((None, false)),
        Some("LN") => Some((Some(NormKind::Layer), true)),
        Some("RMS") => Some((Some(NormKind::Rms), true)),
        Some("LNPre") => Some((Some(NormKind::Layer), false)),
        Some("RMSPre") => Some((Some(NormKind::Rms), false)),
        Some("layer") => Some((Some(NormKind::Layer), weight)),
        Some("rms") => Some((Some(NormKind::Rms), weight)),
        Some(other) => return Err(wrong("normalization_type", "LN LNPre RMS RMSPre or none", &other.into())),
    })
}

fn positions(source: &dyn TensorSource, given: &StateOptions, config: &mut Config) -> Result<()> {
    let learned = source.shape("pos_embed.W_pos").is_some();
    let table = shape::<2>(source, "blocks.0.attn.rotary_sin")?.map(|[_, dims]| dims);
    let stated = match given.text("positional_embedding_type")? {
        None if learned => Positions::Learned,
        None if table.is_some() => Positions::Rotary,
        None => return Err(missing("positional_embedding_type", "the kind of positions", "\"rotary\" or \"none\"")),
        Some("standard" | "learned") => Positions::Learned,
        Some("rotary") => Positions::Rotary,
        Some("none") => Positions::None,
        Some(other) => {
            return Err(err!(Format, "positional_embedding_type: the kind `{other}` is not known here")
                .maybe_hint(names::suggestion(other, ["standard", "rotary", "none"])));
        }
    };
    if (stated == Positions::Learned) != learned {
        let shown = if learned { "learned positions" } else { "no learned positions" };
        bail!(Format, "positional_embedding_type: expected {shown}, as the tensors show, found something else");
    }
    config.positions = stated;
    if stated == Positions::Rotary {
        config.rotary = Some(rotary(given, config.d_head, table)?);
    }
    Ok(())
}

fn rotary(given: &StateOptions, d_head: usize, table: Option<usize>) -> Result<Rotary> {
    let dims = match table {
        Some(dims) => agreed(given, "rotary_dim", dims)?,
        None => given.size("rotary_dim")?.unwrap_or(d_head),
    };
    let theta = given.float("rotary_base")?.unwrap_or(THETA);
    let neighbours = given.flag("rotary_adjacent_pairs")?.unwrap_or(false);
    Ok(Rotary { dims, theta, neighbours, scaling: Scaling::None })
}

/// Returns the factor of scores; TransformerLens states the divisor.
fn score_scale(given: &StateOptions, d_head: usize) -> Result<f64> {
    if given.flag("use_attn_scale")? == Some(false) {
        return Ok(1.0);
    }
    match given.float("attn_scale")? {
        // -1 means the default.
        None | Some(-1.0) => Ok((d_head as f64).sqrt().recip()),
        Some(scale) if scale > 0.0 => Ok(scale.recip()),
        Some(scale) => bail!(Format, "attn_scale: expected a number above 0, found {scale}"),
    }
}

fn causal(given: &StateOptions) -> Result<bool> {
    match (given.text("attention_dir")?, given.flag("causal")?) {
        (Some(_), Some(_)) => bail!(Argument, "expected one of `attention_dir` and `causal`, found both"),
        (None, causal) => Ok(causal.unwrap_or(true)),
        (Some("causal"), None) => Ok(true),
        (Some("bidirectional"), None) => Ok(false),
        (Some(other), None) => bail!(Format, "attention_dir: expected causal or bidirectional, found `{other}`"),
    }
}

/// Reads the attention window of each layer: `attn_types` names the local ones.
fn windows(given: &StateOptions, layers: usize) -> Result<Vec<Option<usize>>> {
    if !given.flag("use_local_attn")?.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let window = given.size("window_size")?.filter(|window| *window > 0);
    let window = window.ok_or_else(|| missing("window_size", "how far the local layers see", "256"))?;
    let types = given.value("attn_types").and_then(Value::as_array);
    let types = types.ok_or_else(|| missing("attn_types", "which layers are local", "[\"global\", \"local\"]"))?;
    if types.len() != layers {
        bail!(Format, "attn_types: expected {layers}, one for each layer, found {}", types.len());
    }
    let seen = |kind: &Value| match kind.as_str() {
        Some("global") => Ok(None),
        Some("local") => Ok(Some(window)),
        _ => Err(wrong("attn_types", "global or local", kind)),
    };
    types.iter().map(seen).collect()
}

/// Lists the biases of gated MLPs, which must be zero. TransformerLens has none at the gate, and zeros elsewhere in all
/// models that it converts; a decoder of ours has one everywhere or nowhere.
pub(super) fn empty_biases(source: &dyn TensorSource, config: &Config) -> Result<Vec<String>> {
    for layer in 0..config.layers {
        for part in ["b_in", "b_out"] {
            let name = format!("blocks.{layer}.mlp.{part}");
            if source.shape(&name).is_none() {
                continue;
            }
            let sum = source.tensor(&name)?.to_dtype(crate::tensor::DType::F32)?.abs()?.sum_all()?;
            if sum.to_scalar::<f32>()? != 0.0 {
                bail!(Format, "{name}: a bias in a gated MLP whose gate has none is not known here");
            }
        }
    }
    Ok(vec!["blocks.*.mlp.b_in".into(), "blocks.*.mlp.b_out".into()])
}

/// Returns the shape of a tensor, if it is there, with this many axes.
fn shape<const N: usize>(source: &dyn TensorSource, name: &str) -> Result<Option<[usize; N]>> {
    let Some(shape) = source.shape(name) else { return Ok(None) };
    match <[usize; N]>::try_from(shape.as_slice()) {
        Ok(shape) => Ok(Some(shape)),
        Err(_) => bail!(Format, "{name}: expected {N} axes, found shape {shape:?}"),
    }
}

fn missing(key: &str, what: &str, example: &str) -> Error {
    err!(Argument, "expected `{key}` in the option `config`, found nothing")
        .hint(format!("the tensors do not show {what}: give it as #{{ config: #{{ {key}: {} }} }}", example))
}
