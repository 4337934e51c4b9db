//! The weights of any model under the names and in the shapes of TransformerLens.

use super::{Age, EMBED, place};
use crate::base::Result;
use crate::model::config::Config;
use crate::model::layout::WeightFrom;
use crate::model::load::together;
use crate::model::weight::Weight;
use crate::model::weights::Weights;
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

/// The weight with this name in TransformerLens, before any folding; None if this model has no such weight. `W_Q` and
/// the like are stacked over all layers.
pub fn weight(weights: &Weights, config: &Config, name: &str) -> Result<Option<Tensor>> {
    if let Some((module, _)) = OF_LAYERS.iter().find(|(_, parts)| parts.contains(&name)) {
        let of_layer = |layer| one(weights, config, &format!("blocks.{layer}.{module}.{name}"));
        let all: Option<Vec<Tensor>> = (0..config.layers).map(of_layer).collect::<Result<_>>()?;
        let all = all.filter(|all| !all.is_empty());
        return Ok(all.map(|all| Tensor::stack(&all, 0)).transpose()?);
    }
    let whole = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, whole)| whole);
    one(weights, config, whole)
}

/// The names that [`weight`] takes for this model.
pub fn names(config: &Config) -> Result<Vec<String>> {
    let theirs = |ours: &str| called(&place(ours, config, Age::Now)?).cloned();
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
    let narrow = config.kv_heads < config.heads;
    let spread = [".W_K", ".W_V", ".b_K", ".b_V"].into_iter().find(|part| narrow && name.ends_with(part));
    let kept = spread.map_or_else(|| name.to_string(), |part| name.replace(part, &format!("._{}", &part[1..])));
    for (ours, weight) in weights.named(config)? {
        if let Some(from) = place(&ours, config, Age::Now)
            && called(&from) == Some(&kept)
        {
            let theirs = turned(&from, &weight.tensor()?, config)?;
            let theirs = if spread.is_some() { repeated(&theirs, config)? } else { theirs };
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
        | WeightFrom::OfExpert { .. } => None,
    }
}

/// One of our weights in the shape that TransformerLens has it in.
fn turned(from: &WeightFrom, weight: &Tensor, config: &Config) -> Result<Tensor> {
    let theirs = together(&[(from, weight.contiguous()?)], config.d_head)?;
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
fn repeated(weight: &Tensor, config: &Config) -> Result<Tensor> {
    let heads = (0..config.heads).map(|head| (config.kv_head(head)) as u32).collect::<Vec<u32>>();
    Ok(weight.contiguous()?.index_select(&Tensor::new(heads, weight.device())?, 0)?)
}

impl Config {
    /// The key-value head of a query head.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.heads / self.kv_heads.max(1)).max(1)
    }
}

impl Weights {
    /// `W_Q W_K^T` of a head, `[d_model, d_model]`.
    pub fn qk(&self, config: &Config, layer: usize, head: usize) -> Result<Tensor> {
        let attn = self.blocks[layer].attention()?;
        let (q, k) = (of_head(&attn.q.weight, config, head)?, of_head(&attn.k.weight, config, config.kv_head(head))?);
        matmul::matmul(&q.t()?, &k)
    }

    /// `W_V W_O` of a head, `[d_model, d_model]`.
    pub fn ov(&self, config: &Config, layer: usize, head: usize) -> Result<Tensor> {
        let attn = self.blocks[layer].attention()?;
        let v = of_head(&attn.v.weight, config, config.kv_head(head))?;
        let o = attn.o.weight.tensor()?.narrow(1, head * config.d_head, config.d_head)?;
        matmul::matmul(&v.t()?, &o.t()?)
    }
}

/// The rows of a head, `[d_head, d_model]`.
fn of_head(weight: &Weight, config: &Config, head: usize) -> Result<Tensor> {
    weight.rows(head * config.d_head, config.d_head)?.tensor()
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
                let theirs = place(ours, &config, Age::Now).map(|from| called(&from).unwrap().clone());
                // Norms of queries and keys have none.
                let Some(theirs) = theirs else { continue };
                let found = weight(&weights, &config, &theirs).unwrap().unwrap();
                // Rows of the position table before position 0 are left out.
                let left_out = if ours == "pos_embed" { config.position_offset * config.d_model } else { 0 };
                assert_eq!(found.elem_count(), shape.iter().product::<usize>() - left_out, "{ours} {theirs}");
            }
            assert_eq!(weight(&weights, &config, "W_U").unwrap().unwrap().dims(), [config.d_model, config.outputs()]);
            let queries = weight(&weights, &config, "W_Q").unwrap();
            // Those of some layers are no stack of all.
            assert_eq!(queries.is_none(), config.delta.is_some());
            let Some(queries) = queries else { continue };
            assert_eq!(queries.dims(), [config.layers, config.heads, config.d_model, config.d_head]);
            assert_eq!(weight(&weights, &config, "W_K").unwrap().unwrap().dims(), queries.dims());
            assert!(weight(&weights, &config, "W_X").unwrap().is_none());
        }
    }

    #[test]
    fn the_products_of_a_head_are_those_of_its_weights() {
        for config in configs() {
            let weights = made(&config);
            let (layer, head) = (config.layers - 1, config.heads - 1);
            let get = |name: &str| {
                let whole = weight(&weights, &config, &format!("blocks.{layer}.attn.{name}")).unwrap().unwrap();
                whole.get(head).unwrap()
            };
            let qk = matmul::matmul(&get("W_Q"), &get("W_K").t().unwrap()).unwrap();
            let ov = matmul::matmul(&get("W_V"), &get("W_O")).unwrap();
            assert_eq!(floats(&weights.qk(&config, layer, head).unwrap()), floats(&qk));
            assert_eq!(floats(&weights.ov(&config, layer, head).unwrap()), floats(&ov));
            assert!(Number::of(&qk.sum_all().unwrap()).unwrap().as_f64() > 0.0);
        }
    }
}
