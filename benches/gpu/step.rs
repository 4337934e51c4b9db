//! One step of fitting a `topk` dictionary on a device.

use microtome::base::Result;
use microtome::base::random::stream;
use microtome::sae::fit::{AuxK, Dead, DictionaryShape, FitBatch, FitState, Params, Recipe};
use microtome::tensor::Device;

use super::recipe::recipe;

pub struct Fit {
    state: FitState,
    recipe: Recipe,
    step: usize,
}

impl Fit {
    pub fn new(device: &Device, width: usize, features: usize) -> Self {
        let recipe = Recipe {
            dead: Dead::AuxK(AuxK { k: width / 2, weight: 1.0 / 32.0, most: usize::MAX }),
            ..recipe("topk", 0.5, 0)
        };
        let shape = DictionaryShape { d_in: width, d_sae: features, d_out: width };
        let params = Params::draw(&recipe, shape, &mut stream(0, "bench", 0), device).unwrap();
        Self { state: FitState::new(params, features), recipe, step: 0 }
    }

    pub fn step(&mut self, batches: &[FitBatch]) {
        self.state.advance(&batches[self.step % batches.len()], &self.recipe).unwrap();
        self.step += 1;
    }

    /// A step in candle's operations, without kernels for sparse codes.
    pub fn step_densely(&mut self, batches: &[FitBatch]) -> Result<()> {
        self.state.advance_plain(&batches[self.step % batches.len()], &self.recipe)?;
        self.step += 1;
        Ok(())
    }
}
