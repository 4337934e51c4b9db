//! What both ways of a step share: the weight of each layer's error, and what a step found of a layer.

use kernels::sparse::spread;
use kernels::{Numbers, flat};

use crate::base::Result;
use crate::sae::fit::params::Shape;
use crate::sae::fit::plan::Recipe;
use crate::tensor::{DType, Device, Tensor};

/// The widths of a cross-layer transcoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossLayerShape {
    pub layers: usize,
    pub d_in: usize,
    /// Features of each layer.
    pub d_sae: usize,
    pub d_out: usize,
}

impl CrossLayerShape {
    /// What the features of each layer read, and write: their own layer's output and all later ones.
    pub fn of_layers(self) -> Vec<Shape> {
        let Self { layers, d_in, d_sae, d_out } = self;
        (0..layers).map(|layer| Shape { d_in, d_sae, d_out: (layers - layer) * d_out }).collect()
    }
}

/// What a step found of one layer.
pub struct LayerStep {
    /// The mean number of codes in a row.
    pub l0: f64,
    /// Of what is written in this layer, by this and all earlier ones; None where that is always the same.
    pub fve: Option<f64>,
    /// Rows since each feature was last active, with this batch.
    pub silent: Vec<u64>,
    /// The smallest code, where the kind tracks it.
    pub smallest: Option<f64>,
}

/// What a squared number that is left of a layer's target counts. One that is the same in all rows has no error to divide
/// by, and counts nothing.
pub fn of_layer(recipe: &Recipe, rows: usize, width: usize, spread: f64) -> f64 {
    if spread > 0.0 { recipe.counting.weight(rows, width, spread) } else { 0.0 }
}

/// The sum of squares of a target about its mean, 0 where that is rounding error.
pub fn spread_of(target: &Tensor) -> Result<f64> {
    let (_, width) = target.dims2()?;
    let numbers = flat(&target.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?)?;
    Ok(spread(Numbers::of(&numbers)?.slice(), width))
}

/// These relative to their mean, and that mean.
pub fn layer_weights(counts: &[f64]) -> (Vec<f64>, f64) {
    let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
    let divisor = if mean > 0.0 { mean } else { 1.0 };
    (counts.iter().map(|count| count / divisor).collect(), mean)
}

/// The fraction of variance explained, of a target that has some.
pub fn explained(left: f64, spread: f64) -> Option<f64> {
    (spread > 0.0).then(|| 1.0 - left / spread)
}
