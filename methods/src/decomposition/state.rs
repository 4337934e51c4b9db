//! The state of a fit of a decomposition: its parameters, and the losses of the steps made.

use super::loss::{self, Draws, LossStep};
use super::options::FitOptions;
use super::parts::{MatrixParts, TENSORS, tied};
use super::target::Target;
use crate::common::*;
use crate::tensor::derivative::{TensorFunction, value_and_gradients};
use crate::tensor::float;
use crate::training::{LossRecord, Optimizer, Parameter, Schedule, ScheduleShape};
use kernels::AdamW;

/// The losses of a step as numbers, without their weights; those that were not computed are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLosses {
    pub total: f64,
    pub faithfulness: f64,
    pub minimality: f64,
    pub stochastic: f64,
    pub layerwise: f64,
    pub subset: f64,
    pub adversarial: f64,
}

impl StepLosses {
    fn of(losses: &loss::Losses) -> Result<Self> {
        let maybe = |t: &Option<Tensor>| t.as_ref().map_or(Ok(f64::NAN), float);
        Ok(Self {
            total: float(&losses.total)?,
            faithfulness: float(&losses.faithfulness)?,
            minimality: float(&losses.minimality)?,
            stochastic: maybe(&losses.stochastic)?,
            layerwise: maybe(&losses.layerwise)?,
            subset: maybe(&losses.subset)?,
            adversarial: maybe(&losses.adversarial)?,
        })
    }
}

impl LossRecord<7> for StepLosses {
    const NAMES: [&'static str; 7] =
        ["total", "faithfulness", "minimality", "stochastic", "layerwise", "subset", "adversarial"];

    fn numbers(&self) -> [f64; 7] {
        let Self { total, faithfulness, minimality, stochastic, layerwise, subset, adversarial } = *self;
        [total, faithfulness, minimality, stochastic, layerwise, subset, adversarial]
    }

    fn from_numbers(numbers: [f64; 7]) -> Self {
        let [total, faithfulness, minimality, stochastic, layerwise, subset, adversarial] = numbers;
        Self { total, faithfulness, minimality, stochastic, layerwise, subset, adversarial }
    }
}

/// The state of a fit: the parameters, and the losses of the steps made.
pub struct FitState {
    /// Parts whose tensors are those at the beginning, for their names and forms.
    template: Vec<MatrixParts>,
    pub parameters: Vec<Parameter<String>>,
    pub history: Vec<StepLosses>,
}

impl FitState {
    pub fn new(parts: Vec<MatrixParts>) -> Result<Self> {
        let mut parameters = Vec::new();
        for parts in &parts {
            for (name, tensor) in TENSORS.iter().zip(parts.tensors()) {
                parameters.push(Parameter::new(format!("{}.{name}", parts.name), tensor)?);
            }
        }
        Ok(Self { template: parts, parameters, history: Vec::new() })
    }

    /// Returns the parameters as tensors.
    fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.weight.as_detached_tensor()).collect()
    }

    /// Returns the parts as they are.
    pub fn parts(&self) -> Result<Vec<MatrixParts>> {
        with(&self.template, &self.tensors())
    }

    /// Makes one step on given inputs and draws.
    pub fn advance<T: Target>(
        &mut self,
        step: &LossStep<'_, T>,
        draws: &Draws,
        optimizer: &Optimizer,
        task: &Task,
    ) -> Result<()> {
        let mut found = None;
        let template = &self.template;
        let mut loss = |tensors: &[Tensor]| {
            let losses = loss::losses(step, &with(template, tensors)?, draws, task)?;
            let total = losses.total.clone();
            found = Some(StepLosses::of(&losses)?);
            Ok(total)
        };
        let (gradients, norm) = gradients(&mut loss, &self.tensors(), task)?;
        let settings = optimizer.update(self.history.len() as u64, norm);
        for (parameter, gradient) in self.parameters.iter().zip(&gradients) {
            parameter.step(gradient, settings)?;
        }
        self.history.extend(found);
        Ok(())
    }

    /// Makes steps on faithfulness alone, and forgets their moments.
    pub fn start<T: Target>(self, target: &T, options: &FitOptions, task: &Task) -> Result<Self> {
        let schedule = Schedule { shape: ScheduleShape::Constant, warmup: 0, decay: 0, floor: 0.0 };
        let optimizer = Optimizer::usual(u64::MAX, options.faithful_lr, schedule, None);
        let bar = task.begin("approaching the matrices", Some(options.faithful_steps));
        for step in 0..options.faithful_steps {
            task.check()?;
            let template = &self.template;
            let mut loss = |tensors: &[Tensor]| loss::faithfulness(&loss::deltas(target, &with(template, tensors)?)?);
            let (gradients, _) = gradients(&mut loss, &self.tensors(), task)?;
            let settings = AdamW { decay: options.faithful_decay, ..optimizer.update(step, 0.0) };
            for (number, (parameter, gradient)) in self.parameters.iter().zip(&gradients).enumerate() {
                // V and U of a matrix, without its gates.
                if number % TENSORS.len() < 2 {
                    parameter.step(gradient, settings)?;
                }
            }
            bar.advance(1);
        }
        Self::new(self.parts()?)
    }
}

/// Computes the gradients of a loss and their norm, and refuses a loss that is not finite.
fn gradients(loss: &mut TensorFunction, at: &[Tensor], task: &Task) -> Result<(Vec<Tensor>, f64)> {
    let found = value_and_gradients(loss, at, task)?;
    let norm = kernels::global_norm(&found.gradients)?;
    if !found.value.is_finite() || !norm.is_finite() {
        return Err(err!(Numeric, "the loss is {}, with a gradient of norm {norm}", found.value)
            .hint("try a lower `lr`, or a `clip`"));
    }
    Ok((found.gradients, norm))
}

/// Returns parts with the tensors of a list, in the order of the parameters.
fn with(template: &[MatrixParts], tensors: &[Tensor]) -> Result<Vec<MatrixParts>> {
    let one = |(parts, tensors): (&MatrixParts, &[Tensor])| {
        let tensors = <[Tensor; 6]>::try_from(tensors.to_vec());
        Ok(parts.with(tensors.map_err(|_| err!(Bug, "expected six tensors of the parts of a matrix"))?))
    };
    tied(template.iter().zip(tensors.chunks(TENSORS.len())).map(one).collect::<Result<_>>()?)
}
