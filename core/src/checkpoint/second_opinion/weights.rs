//! Weights of a model as candle reads them: by the names of published files, in f32, in CPU memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_nn::VarBuilder;

use crate::base::{Result, Task, memory};
use crate::checkpoint::load::place;
use crate::checkpoint::save::arranged;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::layout::{Layout, WeightFrom};
use crate::model::weight::Weight;
use crate::tensor::{DType, Device, Tensor};

/// Weights of one model, from which candle's models of any number of blocks are built.
pub struct Theirs {
    layout: Layout,
    all: HashMap<String, Tensor>,
    /// Zeros of each shape that down projections have.
    zeros: HashMap<Vec<usize>, Tensor>,
}

impl Theirs {
    /// Arranges the weights of a model by a layout of published files.
    pub fn new(model: &Decoder, layout: Layout, task: &Task) -> Result<Self> {
        let config = model.config();
        let weights = model.weights();
        let bytes = weights.named(config)?.iter().map(|(name, weight)| own_bytes(&layout, name, weight)).sum();
        memory::check(bytes, || "the weights as candle has them".into())?;
        let numbers = |name: &str, weight: &Weight| published(config, name, weight);
        let mut all: HashMap<String, Tensor> = arranged(&layout, weights, &numbers, task)?.into_iter().collect();
        if config.tied {
            // Some of candle's implementations know no tied unembedding.
            let unembed = place(&layout, "unembed.weight")?.name().to_string();
            all.insert(unembed, published(config, "embed", &weights.embed)?);
        }
        let mut theirs = Self { layout, all, zeros: HashMap::new() };
        for layer in 0..config.layers {
            for name in theirs.down_projections(layer)? {
                let Some(map) = theirs.all.get(&name) else { continue };
                let shape = map.dims().to_vec();
                if let Entry::Vacant(place) = theirs.zeros.entry(shape) {
                    place.insert(map.zeros_like()?);
                }
            }
        }
        Ok(theirs)
    }

    /// Returns the weights, with down projections of zeros in the `silent` layer.
    pub fn builder(&self, silent: Option<usize>) -> Result<VarBuilder<'static>> {
        let mut all = self.all.clone();
        let silenced = silent.map_or(Ok(Vec::new()), |layer| self.down_projections(layer))?;
        for name in silenced {
            let shape = all.get(&name).map(|map| map.dims().to_vec());
            if let Some(zeros) = shape.and_then(|shape| self.zeros.get(&shape)) {
                all.insert(name, zeros.clone());
            }
        }
        Ok(VarBuilder::from_tensors(all, DType::F32, &Device::Cpu))
    }

    /// Returns the names of the down projections of a layer's MLP or experts.
    fn down_projections(&self, layer: usize) -> Result<Vec<String>> {
        let within = format!("blocks.{layer}.mlp.");
        let ours = self.layout.weights.keys();
        let last = ours.filter(|name| name.starts_with(&within) && name.contains(".down."));
        last.map(|name| Ok(place(&self.layout, name)?.name().to_string())).collect()
    }
}

/// Returns the bytes that a weight takes in addition to the model's.
fn own_bytes(layout: &Layout, name: &str, weight: &Weight) -> u128 {
    let is_whole = matches!(layout.weights.get(name), Some(WeightFrom::Same(_)));
    let shared = match weight {
        Weight::Numbers(numbers) => is_whole && numbers.dtype() == DType::F32 && numbers.device().is_cpu(),
        Weight::Packed(_) | Weight::Adapted(_) => false,
    };
    if shared { 0 } else { weight.dims().iter().product::<usize>() as u128 * 4 }
}

/// Returns a weight as published files of the family have it.
fn published(config: &Config, name: &str, weight: &Weight) -> Result<Tensor> {
    let numbers = weight.floats()?.to_device(&Device::Cpu)?;
    // Files of other families that rotate adjacent pairs have them as they are, and so does candle.
    let turns_neighbours = config.family == "llama" && config.rotary.as_ref().is_some_and(|rotary| rotary.neighbours);
    let is_turned = name.ends_with(".attn.q.weight") || name.ends_with(".attn.k.weight");
    if turns_neighbours && is_turned {
        return by_halves(&numbers, config.d_head);
    }
    let adds_one = config.family.starts_with("gemma");
    if adds_one && !config.norm_plus_one && name.ends_with("norm.weight") {
        return Ok((numbers - 1.0)?);
    }
    Ok(numbers)
}

/// Permutes the rows of heads in which RoPE rotates adjacent pairs to those in which it pairs the two halves.
fn by_halves(map: &Tensor, d_head: usize) -> Result<Tensor> {
    let (rows, columns) = map.dims2()?;
    let pairs = map.reshape((rows / d_head, d_head / 2, 2, columns))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}
