//! Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

use candle_core::Var;

use super::recipe::Recipe;
use crate::base::Result;
use crate::tensor::{DType, Number, Tensor};

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

/// What an update needs to know of its step.
#[derive(Debug, Clone)]
pub struct Pace {
    pub rate: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub weight_decay: f64,
    /// What gradients are multiplied by, so that they are not too long.
    pub shrink: f64,
    /// 1 - beta^t: by how much the means, which began at 0, fall short.
    pub begun: [f64; 2],
}

impl Pace {
    pub fn new(recipe: &Recipe, step: u64, shrink: f64) -> Self {
        let begun = recipe.betas.map(|beta| 1.0 - beta.powf((step + 1) as f64));
        let (rate, Recipe { betas, eps, weight_decay, .. }) = (recipe.rate(step), recipe);
        Self { rate, betas: *betas, eps: *eps, weight_decay: *weight_decay, shrink, begun }
    }
}

/// The norm of all gradients together.
pub fn norm<'a>(gradients: impl Iterator<Item = &'a Tensor>) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in gradients {
        sum += Number::of(&gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?)?.as_f64();
    }
    Ok(sum.sqrt())
}

/// w -= rate (m^ / (sqrt(v^) + eps) + decay w), the decay on matrices only.
pub fn update(weight: &Var, gradient: &Tensor, moments: &Moments, pace: &Pace) -> Result<()> {
    let gradient = (gradient.detach() * pace.shrink)?;
    let [b1, b2] = pace.betas;
    let first = ((moments.first.as_detached_tensor() * b1)? + (&gradient * (1.0 - b1))?)?;
    let second = ((moments.second.as_detached_tensor() * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
    let step = ((&first / pace.begun[0])? / ((&second / pace.begun[1])?.sqrt()? + pace.eps)?)?;
    let decay = if weight.rank() >= 2 { pace.weight_decay } else { 0.0 };
    let kept = (weight.as_detached_tensor() * (1.0 - pace.rate * decay))?;
    weight.set(&(kept - (step * pace.rate)?)?)?;
    moments.first.set(&first)?;
    Ok(moments.second.set(&second)?)
}
