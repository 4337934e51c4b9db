//! The start of a fit: heads at random, or of the layer's own weights.

use rand::Rng;

use super::options::{FitShape, LorsaFitOptions, LorsaStart};
use super::{GroupMap, Lorsa, LorsaAbout};
use crate::common::*;
use crate::model::config::{Config, QkNorm};
use crate::model::weights::{Attention, Linear};
use crate::sae::Activation;
use crate::sae::codes::unit_rows;
use crate::tensor::{create, dtype};

/// Draws the heads that a fit begins with.
pub fn started(
    model: &Model,
    layer: usize,
    shape: &FitShape,
    options: &LorsaFitOptions,
    random: &mut impl Rng,
) -> Result<Lorsa> {
    let config = model.decoder.config();
    let FitShape { heads, groups, d_qk, context } = *shape;
    let d = config.d_model;
    let mut normal =
        |dims: &[usize], size: f64| -> Result<Tensor> { Ok((create::randn(dims, DType::F32, random)? * size)?) };
    let zeros = |count: usize| -> Result<Tensor> { Ok(Tensor::zeros(count, DType::F32, &Device::Cpu)?) };
    let mut map = || -> Result<GroupMap> {
        let weight = normal(&[groups * d_qk, d], options.qk_size / (d as f64).sqrt())?;
        Ok(GroupMap { weight, bias: zeros(groups * d_qk)?, norm: None })
    };
    let queries = map()?;
    let keys = map()?;
    let decoder = normal(&[heads, d], 1.0 / (d as f64).sqrt())?;
    let values = normal(&[heads, d], 1.0 / (d as f64).sqrt())?;
    let site = |name: &str| format!("{name}.{layer}");
    let rotary = config.rotary_of(layer).map(|rotary| {
        let mut rotary = rotary.clone();
        rotary.dims = rotary.dims.min(d_qk / 2 * 2);
        rotary
    });
    let lorsa = Lorsa {
        queries,
        keys,
        values,
        value_bias: zeros(heads)?,
        decoder,
        decoder_bias: zeros(d)?,
        groups,
        turning: rotary.filter(|rotary| rotary.dims > 0).map(Into::into),
        score_scale: 1.0 / (d_qk as f64).sqrt(),
        norm_eps: config.norm_eps,
        activation: Activation::TopK(options.k),
        rescaled: true,
        about: LorsaAbout {
            model: Some(model.name().clone()),
            reads: site("attn_in"),
            writes: site("attn_out"),
            context,
            more: serde_json::Map::new(),
        },
    };
    match options.start {
        LorsaStart::Random => lorsa.check(),
        LorsaStart::Model => of_model(model, layer, lorsa)?.check(),
    }
}

/// Gives groups the queries and keys of the layer's heads, and heads directions within what these read and write.
fn of_model(model: &Model, layer: usize, lorsa: Lorsa) -> Result<Lorsa> {
    let config = model.decoder.config();
    let own = config.heads;
    let d_head = config.d_head_of(layer);
    let fits = lorsa.groups.is_multiple_of(own) && lorsa.d_qk() == d_head && config.d_value_of(layer) == d_head;
    if !fits {
        return Err(err!(
            Argument,
            "expected groups that are a multiple of the layer's {own} heads, with queries of {d_head} numbers, found {} of {}",
            lorsa.groups,
            lorsa.d_qk()
        )
        .hint("a Lorsa of another shape starts at random")
        .about("start"));
    }
    let block = model.decoder.weights().blocks.get(layer);
    let attention = block.and_then(|block| block.attention().ok());
    let Some(attention) = attention else {
        return Err(err!(Argument, "expected a layer with attention, found layer {layer}").about("layer"));
    };
    if config.qk_norm == QkNorm::Whole {
        return Err(err!(Argument, "expected a norm of each head's queries, found one of all heads together")
            .hint("start at random: a Lorsa's groups have norms of their own")
            .about("start"));
    }
    let each = lorsa.groups / own;
    let d = config.d_model;
    let keys_of = |head: usize| head / (own / config.kv_heads_of(layer).max(1));
    let groups = |linear: &Linear, place: &dyn Fn(usize) -> usize| -> Result<(Tensor, Tensor)> {
        let weight = linear.weight.floats()?.reshape(((), d_head, d))?;
        let bias = match &linear.bias {
            Some(bias) => dtype::convert(bias, DType::F32)?.reshape(((), d_head))?,
            None => Tensor::zeros((weight.dim(0)?, d_head), DType::F32, weight.device())?,
        };
        let chosen: Vec<u32> = (0..lorsa.groups).map(|group| place(group / each) as u32).collect();
        let chosen = Tensor::new(chosen, weight.device())?;
        let weight = weight.index_select(&chosen, 0)?.reshape((lorsa.groups * d_head, d))?;
        Ok((weight.to_device(&Device::Cpu)?, bias.index_select(&chosen, 0)?.flatten_all()?.to_device(&Device::Cpu)?))
    };
    let norm = |norm: &Option<crate::model::weights::Norm>| -> Result<Option<Tensor>> {
        let Some(weight) = norm.as_ref().and_then(|norm| norm.weight.as_ref()) else { return Ok(None) };
        let weight = dtype::convert(weight, DType::F32)?.to_device(&Device::Cpu)?;
        let weight = if config.norm_plus_one { (weight + 1.0)? } else { weight };
        Ok(Some(weight.reshape((1, d_head))?.broadcast_as((lorsa.groups, d_head))?.contiguous()?))
    };
    let (query_weight, query_bias) = groups(&attention.q, &|head| head)?;
    let (key_weight, key_bias) = groups(attention.keys()?, &keys_of)?;
    let queries = GroupMap { weight: query_weight, bias: query_bias, norm: norm(&attention.q_norm)? };
    let keys = GroupMap { weight: key_weight, bias: key_bias, norm: norm(&attention.k_norm)? };
    let (values, decoder) = heads_within(config, layer, attention, &lorsa)?;
    let turning = config.rotary_of(layer).cloned().map(Into::into);
    let score_scale = config.score_scale_of(layer);
    Ok(Lorsa { queries, keys, values, decoder, turning, score_scale, ..lorsa })
}

/// Returns directions that heads read and write: each writes a random direction of what its group's head writes, and reads what
/// that head maps to it.
fn heads_within(config: &Config, layer: usize, attention: &Attention, lorsa: &Lorsa) -> Result<(Tensor, Tensor)> {
    let own = config.heads;
    let d_head = config.d_head_of(layer);
    let d = config.d_model;
    let reads = attention.values()?.weight.floats()?.reshape(((), d_head, d))?.to_device(&Device::Cpu)?;
    let writes = attention.o.weight.floats()?.reshape((d, own, d_head))?.to_device(&Device::Cpu)?;
    let shared = own / config.kv_heads_of(layer).max(1);
    let mut values = Vec::new();
    let mut decoder = Vec::new();
    let wide = lorsa.heads() / own;
    for head in 0..own {
        let read = reads.get(head / shared.max(1))?;
        let written = writes.narrow(1, head, 1)?.squeeze(1)?.t()?.contiguous()?;
        // The drawn directions have enough numbers for the weights of the head's own.
        let drawn = lorsa.decoder.narrow(0, head * wide, wide)?.narrow(1, 0, d_head)?.contiguous()?;
        let unit = |rows: &Tensor| unit_rows(rows, f64::from(f32::MIN_POSITIVE));
        let direction = unit(&drawn.matmul(&written)?)?;
        values.push(unit(&direction.matmul(&written.t()?)?.matmul(&read)?)?);
        decoder.push(direction);
    }
    Ok((Tensor::cat(&values, 0)?, Tensor::cat(&decoder, 0)?))
}
