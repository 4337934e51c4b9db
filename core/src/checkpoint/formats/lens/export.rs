//! The weights of any model under the names and in the shapes of TransformerLens.

use super::{EMBED, MatrixLayout, place};
use crate::checkpoint::load::together;
use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::WeightFrom;
use crate::model::weight::Weight;
use crate::model::weights::{Attention, Weights};
use crate::tensor::{Tensor, matmul};

/// Names in TransformerLens that leave out the module.
const SHORT: [(&str, &str); 4] =
    [("W_E", EMBED), ("W_pos", "pos_embed.W_pos"), ("W_U", UNEMBED), ("b_U", "unembed.b_U")];

const UNEMBED: &str = "unembed.W_U";

/// Names of weights that are stacked over all layers, by module.
const OF_LAYERS: [(&str, &[&str]); 2] = [
    ("attn", &["W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"]),
    ("mlp", &["W_in", "W_out", "W_gate", "b_in", "b_out"]),
];

/// Returns the weight with this name in TransformerLens, before any folding; None if this model has no such weight.
/// `W_Q` and the like are stacked over all layers.
pub fn weight(weights: &Weights, config: &Config, name: &str) -> Result<Option<Tensor>> {
    if let Some((module, _)) = OF_LAYERS.iter().find(|(_, parts)| parts.contains(&name)) {
        check_reads_stream(config, name)?;
        let of_layer = |layer| one(weights, config, &format!("blocks.{layer}.{module}.{name}"));
        let all: Option<Vec<Tensor>> = (0..config.layers).map(of_layer).collect::<Result<_>>()?;
        let Some(all) = all.filter(|all| !all.is_empty()) else { return Ok(None) };
        if let Some(layer) = all.iter().position(|one| one.dims() != all[0].dims()) {
            let first = all[0].dims();
            let other = all[layer].dims();
            return Err(err!(
                Argument,
                "expected layers of one size to stack `{name}` of, found {first:?} in layer 0 and {other:?} in layer {layer}"
            )
            .hint(format!("`blocks.{layer}.{module}.{name}` is that of one layer")));
        }
        return Ok(Some(Tensor::stack(&all, 0)?));
    }
    check_reads_stream(config, name)?;
    let whole = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, whole)| whole);
    one(weights, config, whole)
}

/// Refuses matrices of heads that latent attention has not: between what the layer reads and its keys and values is a
/// norm.
fn check_reads_stream(config: &Config, name: &str) -> Result<()> {
    let Some(latent) = &config.latent else { return Ok(()) };
    let part = name.rsplit('.').next().unwrap_or(name);
    let ours = match part {
        "W_K" => "k",
        "W_V" => "v",
        "W_Q" if latent.q_rank.is_some() => "q",
        _ => return Ok(()),
    };
    let site = if ours == "q" { "q_latent" } else { "kv_latent" };
    Err(err!(
        Argument,
        "latent attention has no `{part}`: between what the layer reads and what the matrix would give is a norm"
    )
    .hint(format!(
        "`blocks.0.attn.{ours}.weight` reads the site `{site}.0`, to which `blocks.0.attn.{site}.weight` maps"
    )))
}

/// Lists the names that [`weight`] takes for this model.
pub fn names(config: &Config) -> Result<Vec<String>> {
    let theirs = |ours: &str| called(&place(ours, config, MatrixLayout::Now)?).cloned();
    let mut all: Vec<String> = config.parameters()?.iter().filter_map(|(ours, _)| theirs(ours)).collect();
    if config.tied {
        all.push(UNEMBED.into());
    }
    let mut short: Vec<&str> = Vec::new();
    short.extend(SHORT.iter().filter(|(_, whole)| all.iter().any(|name| name == whole)).map(|(short, _)| *short));
    for (module, parts) in OF_LAYERS {
        // With fewer key-value heads than query heads, the keys and the values of a layer have an underscore.
        let begin = format!("blocks.0.{module}.");
        let has = |part: &&&str| {
            all.iter()
                .any(|name| name.strip_prefix(&begin).is_some_and(|found| found.trim_start_matches('_') == **part))
        };
        short.extend(parts.iter().filter(has).copied());
    }
    let short: Vec<String> = short.into_iter().map(String::from).collect();
    all.extend(short);
    Ok(all)
}

fn one(weights: &Weights, config: &Config, name: &str) -> Result<Option<Tensor>> {
    // A tied model has its unembedding under the name of the embedding only.
    if name == UNEMBED {
        return Ok(Some(weights.unembed.weight.tensor()?.t()?.contiguous()?));
    }
    // With fewer key-value heads than query heads, `_W_K` has the key-value heads, and `W_K` one for each query head.
    let narrow = config.is_grouped();
    let spread = [".W_K", ".W_V", ".b_K", ".b_V"].into_iter().find(|part| narrow && name.ends_with(part));
    let kept = spread.map_or_else(|| name.to_string(), |part| name.replace(part, &format!("._{}", &part[1..])));
    for (ours, weight) in weights.named(config)? {
        if let Some(from) = place(&ours, config, MatrixLayout::Now)
            && called(&from) == Some(&kept)
        {
            let layer = ours.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or(0);
            let theirs = turned(&from, &weight.tensor()?, config, layer)?;
            let theirs = if spread.is_some() { repeated(&theirs, config, layer)? } else { theirs };
            return Ok(Some(theirs.contiguous()?));
        }
    }
    Ok(None)
}

fn called(from: &WeightFrom) -> Option<&String> {
    match from {
        WeightFrom::Same(name)
        | WeightFrom::Transposed(name)
        | WeightFrom::HeadsOut(name)
        | WeightFrom::HeadsIn(name)
        | WeightFrom::HeadRows(name)
        | WeightFrom::Flat(name) => Some(name),
        WeightFrom::Rows { .. }
        | WeightFrom::Columns { .. }
        | WeightFrom::OfEachHead { .. }
        | WeightFrom::OfEachGroup { .. }
        | WeightFrom::OfExpert { .. }
        | WeightFrom::RowsOfExpert { .. }
        | WeightFrom::Rewritten { .. } => None,
    }
}

/// Returns one of our weights in the shape that TransformerLens has it in.
fn turned(from: &WeightFrom, weight: &Tensor, config: &Config, layer: usize) -> Result<Tensor> {
    let size = match from {
        WeightFrom::HeadsIn(_) => config.d_value_of(layer),
        _ => config.d_head_of(layer),
    };
    let theirs = together(&[(from, weight.contiguous()?)], size)?;
    Ok(match from {
        // TransformerLens multiplies the embeddings by their factor, and its norm weights are not stored as distances
        // from 1.
        WeightFrom::Same(name) if name == EMBED => match config.embed_scale {
            Some(scale) => theirs.affine(scale, 0.0)?,
            None => theirs,
        },
        WeightFrom::Same(name) if name.ends_with(".w") && config.norm_plus_one => theirs.affine(1.0, 1.0)?,
        WeightFrom::Same(name) if name == "pos_embed.W_pos" => {
            theirs.narrow(0, config.position_offset, config.context)?
        }
        _ => theirs,
    })
}

/// Repeats each key-value head for the query heads that share it.
fn repeated(weight: &Tensor, config: &Config, layer: usize) -> Result<Tensor> {
    let heads = (0..config.heads).map(|head| config.kv_head(layer, head) as u32).collect::<Vec<u32>>();
    Ok(weight.contiguous()?.index_select(&Tensor::new(heads, weight.device())?, 0)?)
}

impl Weights {
    /// Computes `W_Q W_K^T` of a head, `[d_model, d_model]`.
    pub fn qk(&self, config: &Config, layer: usize, head: usize) -> Result<Tensor> {
        let attn = own_attention(self, config, layer)?;
        let of_head = |weight: &Weight, head: usize| of_head(weight, config.d_head_of(layer), head);
        let q = of_head(&attn.q.weight, head)?;
        let k = of_head(&attn.keys()?.weight, config.kv_head(layer, head))?;
        matmul::matmul(&q.t()?, &k)
    }

    /// Computes `W_V W_O` of a head, `[d_model, d_model]`.
    pub fn ov(&self, config: &Config, layer: usize, head: usize) -> Result<Tensor> {
        let attn = own_attention(self, config, layer)?;
        let size = config.d_head_of(layer);
        let v = of_head(&attn.values()?.weight, size, config.kv_head(layer, head))?;
        let o = attn.o.weight.tensor()?.narrow(1, head * size, size)?;
        matmul::matmul(&v.t()?, &o.t()?)
    }
}

/// Returns the rows of a head, `[d_head, d_model]`.
fn of_head(weight: &Weight, size: usize, head: usize) -> Result<Tensor> {
    weight.rows(head * size, size)?.tensor()
}

/// Returns the attention of a layer with keys and values of its own: between others there is no product of weights for
/// one stream.
fn own_attention<'a>(weights: &'a Weights, config: &Config, layer: usize) -> Result<&'a Attention> {
    if let Some(from) = config.keys_from(layer) {
        return Err(err!(
            Argument,
            "layer {layer} reads the keys and values of layer {from}, which are made of another stream than its queries"
        )
        .hint(format!("`blocks.{layer}.attn.W_Q`, `blocks.{from}.attn.W_K` and the like are its weights"))
        .about("layer"));
    }
    weights.blocks[layer].attention()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::configs;
    use crate::tensor::{Device, Number, floats};

    fn made(config: &Config) -> Weights {
        let mut count = 0_u32;
        Weights::build(config, &mut |_, shape| {
            let len = shape.iter().product::<usize>();
            count += 1;
            let numbers = (0..len).map(|i| ((i * 7 + count as usize) % 11) as f32).collect::<Vec<_>>();
            Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
        })
        .unwrap()
    }

    #[test]
    fn every_weight_has_a_name_there() {
        for config in configs() {
            let weights = made(&config);
            let names = config.parameters().unwrap();
            for (ours, shape) in &names {
                let theirs = place(ours, &config, MatrixLayout::Now).map(|from| called(&from).unwrap().clone());
                // Norms of queries and keys have none.
                let Some(theirs) = theirs else { continue };
                let found = weight(&weights, &config, &theirs).unwrap().unwrap();
                // Rows of the position table before position 0 are left out.
                let left_out = if ours == "pos_embed" { config.position_offset * config.d_model } else { 0 };
                assert_eq!(found.elem_count(), shape.iter().product::<usize>() - left_out, "{ours} {theirs}");
            }
            assert_eq!(weight(&weights, &config, "W_U").unwrap().unwrap().dims(), [config.d_model, config.outputs()]);
            if config.global_heads.is_some() {
                // Layers of several sizes are no stack.
                assert!(weight(&weights, &config, "W_Q").unwrap_err().hint.unwrap().contains("blocks.1.attn.W_Q"));
                continue;
            }
            if let Some(latent) = &config.latent {
                let refused = weight(&weights, &config, "W_K").unwrap_err();
                assert!(refused.message.starts_with("latent attention has no `W_K`"), "{refused}");
                assert_eq!(weight(&weights, &config, "W_Q").is_err(), latent.q_rank.is_some());
                let out = weight(&weights, &config, "W_O").unwrap().unwrap();
                assert_eq!(out.dims(), [config.layers, config.heads, latent.d_value, config.d_model]);
                continue;
            }
            // Those of some layers are no stack of all.
            let [queries, keys] = ["W_Q", "W_K"].map(|name| weight(&weights, &config, name).unwrap());
            let is_recurrent = config.recurrent_layers().is_some();
            assert_eq!(queries.is_none(), is_recurrent);
            assert_eq!(keys.is_none(), is_recurrent || config.shared_keys.is_some());
            let Some(queries) = queries else { continue };
            assert_eq!(queries.dims(), [config.layers, config.heads, config.d_model, config.d_head]);
            assert!(keys.is_none_or(|keys| keys.dims() == queries.dims()));
            assert!(weight(&weights, &config, "W_X").unwrap().is_none());
        }
    }

    #[test]
    fn the_products_of_a_head_are_those_of_its_weights() {
        for config in configs() {
            let weights = made(&config);
            let layer = config.layers - 1;
            let head = config.heads - 1;
            if let Some(from) = config.keys_from(layer) {
                let error = weights.ov(&config, layer, head).unwrap_err();
                assert!(error.message.starts_with("layer 1 reads the keys and values of layer 0"), "{error}");
                assert!(weights.qk(&config, from, head).is_ok());
                continue;
            }
            if config.latent.is_some() {
                for refused in [weights.qk(&config, layer, head), weights.ov(&config, layer, head)] {
                    assert!(refused.unwrap_err().message.contains("latent attention"));
                }
                continue;
            }
            let get = |name: &str| {
                let whole = weight(&weights, &config, &format!("blocks.{layer}.attn.{name}")).unwrap().unwrap();
                whole.get(head).unwrap()
            };
            let qk = matmul::matmul(&get("W_Q"), &get("W_K").t().unwrap()).unwrap();
            let values = if config.values_are_keys(layer) { "W_K" } else { "W_V" };
            let ov = matmul::matmul(&get(values), &get("W_O")).unwrap();
            assert_eq!(floats(&weights.qk(&config, layer, head).unwrap()), floats(&qk));
            assert_eq!(floats(&weights.ov(&config, layer, head).unwrap()), floats(&ov));
            assert!(Number::of(&qk.sum_all().unwrap()).unwrap().as_f64() > 0.0);
        }
    }
}
