//! Adam with gradient clipping: trainable weights with their moments, and the settings of an update.

use std::fmt::Display;

use candle_core::Var;

use super::checkpoint::CheckpointReader;
use super::schedule::Schedule;
use crate::common::*;
use crate::tensor::Tensor;
use kernels::AdamW;

/// A trainable weight, with the running means of its gradient and of the gradient's square.
pub struct Parameter<Name> {
    pub name: Name,
    pub weight: Var,
    pub moments: [Var; 2],
}

impl<Name> Parameter<Name> {
    /// Makes a parameter that begins as a copy of this weight, which is not changed.
    pub fn new(name: Name, weight: &Tensor) -> Result<Self> {
        let weight = Var::from_tensor(&weight.copy()?)?;
        let zeros = || Var::from_tensor(&weight.zeros_like()?);
        Ok(Self { name, moments: [zeros()?, zeros()?], weight })
    }

    /// Makes one step of Adam along a gradient, in place.
    pub fn step(&self, gradient: &Tensor, settings: AdamW) -> Result<()> {
        let [first, second] = &self.moments;
        Ok(kernels::adamw_step(&self.weight, gradient, [first, second], settings)?)
    }
}

impl<Name: Display> Parameter<Name> {
    /// Returns the parameter's variables by the names that checkpoints give them.
    fn variables(&self) -> [(String, &Var); 3] {
        let [first, second] = &self.moments;
        [("weight", &self.weight), ("first", first), ("second", second)]
            .map(|(part, variable)| (format!("{part}.{}", self.name), variable))
    }

    pub fn save(&self, tensors: &mut BTreeMap<String, Tensor>) {
        tensors.extend(self.variables().map(|(name, variable)| (name, variable.as_detached_tensor())));
    }

    /// Restores the parameter from a file in which all names begin as `before` says.
    pub fn restore(&self, file: &CheckpointReader, before: &str) -> Result<()> {
        for (name, variable) in self.variables().map(|(name, variable)| (format!("{before}{name}"), variable)) {
            let kept = file.tensor(&name)?;
            if kept.dims() != variable.dims() || kept.dtype() != variable.dtype() {
                let dtype = variable.dtype();
                let dims = variable.dims();
                return Err(err!(
                    Format,
                    "expected {dtype:?} {dims:?} as {name}, found {:?} {:?}",
                    kept.dtype(),
                    kept.dims()
                ));
            }
            variable.set(&kept.to_device(variable.device())?)?;
        }
        Ok(())
    }
}

/// The settings of updates of weights.
#[derive(Debug, Clone, Copy)]
pub struct Optimizer {
    pub steps: u64,
    /// Peak learning rate.
    pub lr: f64,
    pub schedule: Schedule,
    pub betas: [f64; 2],
    pub eps: f64,
    /// Maximum gradient norm, over all weights together.
    pub clip: Option<f64>,
    /// Number that is added to the norm that clipping divides by: PyTorch's `clip_grad_norm_` adds 1e-6.
    pub clip_eps: f64,
}

impl Optimizer {
    /// Returns the settings with the betas, the epsilon and the clipping of PyTorch.
    pub fn usual(steps: u64, lr: f64, schedule: Schedule, clip: Option<f64>) -> Self {
        Self { steps, lr, schedule, betas: [0.9, 0.999], eps: 1e-8, clip, clip_eps: 1e-6 }
    }

    /// Refuses invalid settings, by the names of the script's options.
    pub fn check(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(err!(Argument, "expected at least 1 as `steps`, found 0").about("steps"));
        }
        for (name, number) in [("lr", Some(self.lr)), ("clip", self.clip)] {
            if let Some(number) = number.filter(|number| !(number.is_finite() && *number > 0.0)) {
                return Err(err!(Argument, "expected a number above 0 as `{name}`, found {number}").about(name));
            }
        }
        Ok(())
    }

    /// Returns the learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        self.lr * self.schedule.factor(step, self.steps)
    }

    /// Returns the settings of a step, counted from 0, whose gradient has this norm; without weight decay.
    pub fn update(&self, step: u64, norm: f64) -> AdamW {
        AdamW {
            rate: self.rate(step),
            betas: self.betas,
            eps: self.eps,
            decay: 0.0,
            shrink: self.clip.map_or(1.0, |clip| (clip / (norm + self.clip_eps)).min(1.0)),
            begun: self.betas.map(|beta| 1.0 - beta.powf((step + 1) as f64)),
        }
    }
}
