//! Gradient descent on any parameters: AdamW, Adam and plain descent with momentum, learning rate schedules, and
//! constraints that hold after every step.

mod constraint;
mod options;

use std::fmt::Display;

use candle_core::Var;
use kernels::AdamW;

pub use options::{AdamOptions, AdamWOptions, DescentOptions, ParameterChoice, ParameterRanges, SgdOptions};

use super::adam::{Optimizer, Parameter};
use super::checkpoint::CheckpointReader;
use super::history::of_step;
use super::run::{TrainingEnd, run};
use super::schedule::{Schedule, ScheduleShape};
use super::trainer::Trainer;
use crate::common::*;
use crate::tensor::derivative::{TensorFunction, ValueAndGradients, value_and_gradients};
use crate::tensor::{DType, Tensor, floats};
use constraint::Constraint;

/// The rule by which a gradient changes a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DescentRule {
    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019).
    AdamW { betas: [f64; 2], eps: f64, weight_decay: f64 },
    /// Adam with weight decay within the gradient (Kingma and Ba 2015).
    Adam { betas: [f64; 2], eps: f64, weight_decay: f64 },
    /// Gradient descent with momentum.
    Sgd { momentum: f64, weight_decay: f64 },
}

impl DescentRule {
    pub fn name(&self) -> &'static str {
        match self {
            Self::AdamW { .. } => "adamw",
            Self::Adam { .. } => "adam",
            Self::Sgd { .. } => "sgd",
        }
    }
}

/// Parameters that descend along the gradients of a loss.
pub struct Descent {
    rule: DescentRule,
    options: DescentOptions,
    optimizer: Optimizer,
    parameters: Vec<Parameter<String>>,
    made: u64,
}

impl Descent {
    /// Starts a descent at these parameters, which are brought within the constraints first.
    pub fn new(rule: DescentRule, parameters: Vec<(String, Tensor)>, options: DescentOptions) -> Result<Self> {
        let optimizer = optimizer(rule, &options)?;
        if parameters.is_empty() {
            return Err(err!(Argument, "expected at least one parameter, found none").about("params"));
        }
        let known: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        for (option, named) in [
            ("unit", options.unit.names().to_vec()),
            ("orthogonal", options.orthogonal.names().to_vec()),
            ("range", options.range.names()),
        ] {
            if let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) {
                let near = names::suggestion(unknown, known.iter().copied());
                return Err(err!(Name, "expected names of parameters for `{option}`, found `{unknown}`")
                    .maybe_hint(near)
                    .about(option));
            }
        }
        let begun = parameters.into_iter().map(|(name, tensor)| {
            check(&name, &tensor)?;
            let constraint = Constraint::of(&name, &options)?;
            let within = constraint.enforced(&tensor.detach().contiguous()?).map_err(|e| e.about("params"))?;
            Parameter::new(name, &within)
        });
        let parameters = begun.collect::<Result<_>>()?;
        Ok(Self { rule, options, optimizer, parameters, made: 0 })
    }

    pub fn rule(&self) -> DescentRule {
        self.rule
    }

    /// Returns the number of steps made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Returns the learning rate of the next step.
    pub fn rate(&self) -> f64 {
        self.optimizer.rate(self.made)
    }

    /// Returns the parameters as they are. They are not changed by later steps, which make new ones.
    pub fn parameters(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.weight.as_detached_tensor()).collect()
    }

    /// Adds the parameters and their moments to the tensors of a checkpoint.
    pub fn save(&self, tensors: &mut BTreeMap<String, Tensor>) {
        self.parameters.iter().for_each(|parameter| parameter.save(tensors));
    }

    /// Restores the parameters and their moments from a checkpoint that was saved after so many steps.
    pub fn restore(&mut self, file: &CheckpointReader, made: u64) -> Result<()> {
        self.parameters.iter().try_for_each(|parameter| parameter.restore(file, ""))?;
        self.made = made;
        Ok(())
    }

    /// Makes one step, and returns the loss at the parameters as they were, which then change. A step that fails
    /// changes nothing.
    pub fn step(&mut self, loss: &mut TensorFunction, task: &Task) -> Result<f64> {
        let found = value_and_gradients(loss, &self.parameters(), task).map_err(|error| self.at_step(error))?;
        self.update(&found)?;
        Ok(found.value)
    }

    /// Returns an error of the loss, with the number of the step if the loss is no number.
    pub fn at_step(&self, error: Error) -> Error {
        match error.kind {
            Kind::Numeric => Error { message: format!("{} at step {}", error.message, self.made + 1), ..error },
            _ => error,
        }
    }

    /// Makes the second half of a step, with a loss and its gradients at the parameters. A step that fails changes
    /// nothing.
    pub fn update(&mut self, found: &ValueAndGradients) -> Result<()> {
        let step = self.made + 1;
        if !found.value.is_finite() {
            return Err(err!(Numeric, "the loss is {} at step {step}", found.value).hint(LOWER));
        }
        let norm = kernels::global_norm(&found.gradients)?;
        if !norm.is_finite() {
            return Err(self.broken(&found.gradients, norm)?);
        }
        let settings = self.optimizer.update(self.made, norm);
        let changed: Vec<Parameter<String>> = self
            .parameters
            .iter()
            .zip(&found.gradients)
            .map(|(parameter, gradient)| self.changed(parameter, gradient, settings))
            .collect::<Result<_>>()?;
        self.parameters = changed;
        self.made = step;
        Ok(())
    }

    /// Builds the error of a gradient that is not finite, by the name of the parameter.
    fn broken(&self, gradients: &[Tensor], norm: f64) -> Result<Error> {
        let step = self.made + 1;
        for (parameter, gradient) in self.parameters.iter().zip(gradients) {
            let numbers = floats(gradient)?;
            if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
                let name = &parameter.name;
                return Ok(err!(Numeric, "the gradient of `{name}` is {number} at step {step}").hint(LOWER));
            }
        }
        Ok(err!(Numeric, "the gradient's norm is {norm} at step {step}").hint(LOWER))
    }

    /// Returns a parameter after the update, as a copy.
    fn changed(&self, parameter: &Parameter<String>, gradient: &Tensor, settings: AdamW) -> Result<Parameter<String>> {
        let copy = |variable: &Var| Var::from_tensor(&variable.as_detached_tensor());
        let [first, second] = &parameter.moments;
        let next = Parameter {
            name: parameter.name.clone(),
            weight: copy(&parameter.weight)?,
            moments: [copy(first)?, copy(second)?],
        };
        let before = parameter.weight.as_detached_tensor();
        match self.rule {
            DescentRule::AdamW { weight_decay, .. } => {
                next.step(gradient, AdamW { decay: weight_decay, ..settings })?;
            }
            DescentRule::Adam { weight_decay, .. } => {
                let (gradient, settings) = match weight_decay {
                    0.0 => (gradient.clone(), settings),
                    // The decay is no part of the gradient that is clipped.
                    _ => (
                        ((gradient * settings.shrink)? + (&before * weight_decay)?)?,
                        AdamW { shrink: 1.0, ..settings },
                    ),
                };
                next.step(&gradient, settings)?;
            }
            DescentRule::Sgd { momentum, weight_decay } => {
                let gradient = ((gradient * settings.shrink)? + (&before * weight_decay)?)?;
                let change = ((first.as_detached_tensor() * momentum)? + gradient)?;
                next.weight.set(&(&before - (&change * settings.rate)?)?)?;
                next.moments[0].set(&change)?;
            }
        }
        let constraint = Constraint::of(&next.name, &self.options)?;
        let after = next.weight.as_detached_tensor();
        let finite = kernels::global_norm([&after])?;
        if !finite.is_finite() {
            let name = &next.name;
            let step = self.made + 1;
            return Err(err!(Numeric, "`{name}` would not be finite after step {step}").hint(LOWER));
        }
        if !constraint.is_none() {
            next.weight.set(&constraint.moved(&before, &after)?)?;
        }
        Ok(next)
    }
}

const LOWER: &str = "the parameters are as before this step; try a lower `lr`, a longer `warmup` or a smaller `clip`";

fn optimizer(rule: DescentRule, options: &DescentOptions) -> Result<Optimizer> {
    let is_constant = options.schedule == ScheduleShape::Constant;
    let Some(steps) = options.steps.or(is_constant.then_some(u64::MAX)) else {
        let shape = options.schedule.word();
        return Err(err!(Argument, "expected `steps` with the schedule \"{shape}\", found nothing")
            .hint("the learning rate decays over so many steps")
            .about("schedule"));
    };
    let schedule = Schedule {
        shape: options.schedule,
        warmup: options.warmup,
        decay: options.decay.unwrap_or(steps / 5),
        floor: 0.0,
    };
    let (betas, eps) = match rule {
        DescentRule::AdamW { betas, eps, .. } | DescentRule::Adam { betas, eps, .. } => (betas, eps),
        DescentRule::Sgd { .. } => ([0.0; 2], 0.0),
    };
    if let Some(beta) = betas.iter().find(|beta| **beta >= 1.0) {
        return Err(err!(Argument, "expected numbers below 1 for `betas`, found {beta}").about("betas"));
    }
    Ok(Optimizer { steps, lr: options.lr, schedule, betas, eps, clip: options.clip, clip_eps: 1e-6 })
}

/// Refuses a parameter that cannot descend.
fn check(name: &str, t: &Tensor) -> Result<()> {
    if t.track_op() {
        return Err(err!(Argument, "expected constants as parameters, found `{name}` within another gradient")
            .hint("`.detach()` makes a constant of it")
            .about("params"));
    }
    if !matches!(t.dtype(), DType::F32 | DType::F64) {
        return Err(err!(Argument, "expected f32 or f64 for `{name}`, found {}", t.dtype().as_str())
            .hint("t.to(\"f32\") makes floats of it")
            .about("params"));
    }
    if let Some(number) = floats(t)?.iter().find(|number| !number.is_finite()) {
        return Err(err!(Argument, "expected finite numbers in `{name}`, found {number}").about("params"));
    }
    Ok(())
}

/// The number of steps, and the words of the progress bar and of the note of an interruption.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    pub count: u64,
    /// Label of the progress bar: "descending".
    pub label: &'static str,
    /// Result that an interruption leaves: "the subspace as it is".
    pub left: &'static str,
}

/// Makes the steps of a descent, one after the other, with the loss beside the progress bar. An interruption ends them
/// early. Returns the losses of the steps made.
pub fn descend(steps: Steps, step: impl FnMut() -> Result<f64>, task: &Task) -> Result<Vec<f64>> {
    let mut course = DescentTraining { steps, step, losses: Vec::new() };
    let _ended: TrainingEnd = run(&mut course, task)?;
    Ok(course.losses)
}

struct DescentTraining<F> {
    steps: Steps,
    step: F,
    losses: Vec<f64>,
}

impl<F: FnMut() -> Result<f64>> Trainer for DescentTraining<F> {
    fn label(&self) -> String {
        self.steps.label.into()
    }

    fn steps(&self) -> u64 {
        self.steps.count
    }

    fn made(&self) -> u64 {
        self.losses.len() as u64
    }

    fn advance(&mut self, _: &Task) -> Result<()> {
        self.losses.push((self.step)()?);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        let loss: &dyn Display = self.losses.last().map_or(&"none", |loss| loss);
        format!("loss {loss:.4}, {speed:.0} steps/s")
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        of_step(&self.losses, step).map(|loss| ("loss", *loss)).into_iter().collect()
    }

    fn left(&self) -> String {
        self.steps.left.into()
    }
}

#[cfg(test)]
mod tests;
