//! Parts that the fused and the plain step of a cross-layer transcoder share: the weight of each layer's error, and the
//! results of a layer.

use kernels::sparse::spread;
use kernels::{FlatNumbers, flat};

use crate::common::*;
use crate::sae::fit::params::DictionaryShape;
use crate::sae::fit::plan::Recipe;

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
    /// Returns the shape of each layer: its features read one input, and write the output of their own layer and of all
    /// later ones.
    pub fn of_layers(self) -> Vec<DictionaryShape> {
        let Self { layers, d_in, d_sae, d_out } = self;
        (0..layers).map(|layer| DictionaryShape { d_in, d_sae, d_out: (layers - layer) * d_out }).collect()
    }
}

/// The results of a step for one layer.
pub struct LayerStep {
    /// The mean number of codes in a row.
    pub l0: f64,
    /// FVE of this layer's output, which features of this and all earlier layers write; None for a constant output.
    pub fve: Option<f64>,
    /// Rows since each feature was last active, with this batch.
    pub silent: Vec<u64>,
    /// The smallest code, where the kind tracks it.
    pub smallest: Option<f64>,
}

/// Returns the weight of a squared error of a layer's target. A target that is constant has no variance to divide by,
/// and weight 0.
pub fn of_layer(recipe: &Recipe, rows: usize, width: usize, spread: f64) -> f64 {
    if spread > 0.0 { recipe.counting.weight(rows, width, spread) } else { 0.0 }
}

/// Computes the sum of squares of a target about its mean, 0 where that is rounding error.
pub fn spread_of(target: &Tensor) -> Result<f64> {
    let (_, width) = target.dims2()?;
    let numbers = flat(&target.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?)?;
    Ok(spread(FlatNumbers::of(&numbers)?.slice(), width))
}

/// Returns weights relative to their mean, and that mean.
pub fn layer_weights(counts: &[f64]) -> (Vec<f64>, f64) {
    let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
    let divisor = if mean > 0.0 { mean } else { 1.0 };
    (counts.iter().map(|count| count / divisor).collect(), mean)
}

/// Computes the fraction of variance explained, of a target that has some.
pub fn explained(left: f64, spread: f64) -> Option<f64> {
    (spread > 0.0).then(|| 1.0 - left / spread)
}
