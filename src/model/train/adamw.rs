//! The moments of AdamW, and the settings of an update.

use candle_core::Var;

use super::recipe::Recipe;
use crate::base::Result;
use crate::tensor::Tensor;
use crate::tensor::kernels::AdamW;

/// Running means of a weight's gradient and of its square.
pub struct Moments {
    pub first: Var,
    pub second: Var,
}

impl Moments {
    pub fn zeros(weight: &Tensor) -> Result<Self> {
        let zeros = || Var::from_tensor(&weight.zeros_like()?);
        Ok(Self { first: zeros()?, second: zeros()? })
    }
}

/// The settings of a step, counted from 0, whose gradient is multiplied by `shrink`. Norms and biases have no weight
/// decay.
pub fn settings(recipe: &Recipe, step: u64, shrink: f64, weight: &Tensor) -> AdamW {
    AdamW {
        rate: recipe.rate(step),
        betas: recipe.betas,
        eps: recipe.eps,
        decay: if weight.rank() >= 2 { recipe.weight_decay } else { 0.0 },
        shrink,
        begun: recipe.betas.map(|beta| 1.0 - beta.powf((step + 1) as f64)),
    }
}
