//! One step of fitting a dictionary, on random rows.

use microtome::base::random::stream;
use microtome::sae::fit::cross_layer::{advance_fused, advance_plain, draw};
use microtome::sae::fit::{
    CrossLayerShape, DictionaryShape, EncoderProducts, ErrorNormalisation, FitBatch, FitState, Params, Recipe,
};
use microtome::tensor::{DType, Device, Number, Tensor, create};

use super::recipe::{recipe, tail};
use super::{D, L0, ROWS};

pub struct Fit {
    state: FitState,
    recipe: Recipe,
    step: usize,
    l0: f64,
}

/// Rows for some steps, which fits share.
pub fn batches() -> Vec<FitBatch> {
    let mut random = stream(0, "bench", 1);
    let x = |_| create::randn(&[ROWS, D], DType::F32, &mut random).unwrap();
    (0..4).map(x).map(|x: Tensor| FitBatch { x, target: None }).collect()
}

impl Fit {
    /// With about `L0` codes a row where the kind does not say how many.
    pub fn new(kind: &str, features: usize) -> Self {
        Self::with(kind, features, L0 as f64 / features as f64, 0)
    }

    /// One of several of a sweep.
    pub fn of_sweep(kind: &str, features: usize, seed: u64) -> Self {
        Self::with(kind, features, L0 as f64 / features as f64, seed)
    }

    /// Like the beginning of an L1 fit, before the penalty has made codes sparse: this share of them is above 0.
    pub fn of_share(features: usize, share: f64) -> Self {
        Self::with("relu", features, share, 0)
    }

    /// With features that are all dead, so that the AuxK loss is one of all of them.
    pub fn of_dead(kind: &str, features: usize) -> Self {
        let mut fit = Self::new(kind, features);
        fit.recipe.dead_after = 0;
        fit
    }

    /// The same, with these products of the encoder.
    pub fn by(mut self, compute: EncoderProducts) -> Self {
        self.recipe.compute = compute;
        self
    }

    /// `share`: how many codes there are, where the kind does not say.
    fn with(kind: &str, features: usize, share: f64, seed: u64) -> Self {
        let from = tail(share);
        let recipe = recipe(kind, share, seed);
        let has_threshold = !recipe.kind.properties().more.is_empty() || recipe.kind.properties().needs_unit;
        let mut random = stream(seed, "bench", 0);
        let params =
            Params::draw(&recipe, DictionaryShape { d_in: D, d_sae: features, d_out: D }, &mut random, &Device::Cpu)
                .unwrap();
        for parameter in &params.all {
            if parameter.name.to_string() == "encoder_bias" && !has_threshold {
                parameter.weight.set(&create::full(&[features], Number::Float(-from), DType::F32).unwrap()).unwrap();
            }
        }
        Self { state: FitState::new(params, features), recipe, step: 0, l0: 0.0 }
    }

    pub fn step(&mut self, batches: &[FitBatch]) {
        self.l0 = self.state.advance(&batches[self.step % batches.len()], &self.recipe).unwrap().l0;
        self.step += 1;
    }

    /// A step by the loops for sparse codes, however many there are.
    pub fn step_sparsely(&mut self, batches: &[FitBatch]) {
        let batch = &batches[self.step % batches.len()];
        self.l0 = self.state.advance_fused(batch, &self.recipe, 1.1).unwrap().unwrap().l0;
        self.step += 1;
    }

    /// A step by dense products.
    pub fn step_densely(&mut self, batches: &[FitBatch]) {
        self.l0 = self.state.advance_plain(&batches[self.step % batches.len()], &self.recipe).unwrap().l0;
        self.step += 1;
    }

    /// Of the last step.
    pub fn l0(&self) -> f64 {
        self.l0
    }
}

/// Layers of the cross-layer transcoder that is timed, and the width of what each reads and writes.
pub const LAYERS: usize = 6;
pub const LAYER_WIDTH: usize = 256;

/// A cross-layer transcoder, on random rows.
pub struct CrossLayerFit {
    layers: Vec<FitState>,
    recipe: Recipe,
    batch: Vec<FitBatch>,
}

impl CrossLayerFit {
    /// With this many features of each layer and rows in a batch.
    pub fn new(kind: &str, features: usize, rows: usize) -> Self {
        let recipe = Recipe {
            counting: ErrorNormalisation::Normalised,
            batch: rows,
            ..recipe(kind, L0 as f64 / features as f64, 0)
        };
        let shape = CrossLayerShape { layers: LAYERS, d_in: LAYER_WIDTH, d_sae: features, d_out: LAYER_WIDTH };
        let mut random = stream(0, "bench", 2);
        let layers = draw(&recipe, &shape.of_layers(), &mut random, &Device::Cpu).unwrap();
        let mut all = || -> Vec<Tensor> {
            (0..LAYERS).map(|_| create::randn(&[rows, LAYER_WIDTH], DType::F32, &mut random).unwrap()).collect()
        };
        let x = all();
        let targets = all();
        let batch = x.into_iter().zip(targets).map(|(x, target)| FitBatch { x, target: Some(target) }).collect();
        Self { layers, recipe, batch }
    }

    /// A step by the loops for sparse codes.
    pub fn step(&mut self) {
        advance_fused(&mut self.layers, &self.batch, &self.recipe, 1.1).unwrap().unwrap();
    }

    /// A step by dense products.
    pub fn step_densely(&mut self) {
        advance_plain(&mut self.layers, &self.batch, &self.recipe).unwrap();
    }
}
