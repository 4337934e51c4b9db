//! Gradient descent on any parameters: AdamW, Adam and plain descent with momentum, learning rate schedules, and
//! constraints that hold after every step.

use std::collections::BTreeMap;
use std::fmt::Display;

use candle_core::Var;
use kernels::AdamW;

use super::adam::{Optimizer, Parameter};
use super::run::{Ended, Trainer, run};
use super::schedule::{Schedule, ScheduleShape};
use crate::base::options::{Plain, Setting};
use crate::base::{Result, Task, names};
use crate::tensor::derivative::{TensorFunction, ValueAndGradients, value_and_gradients};
use crate::tensor::reduce::{Reduction, reduce};
use crate::tensor::{DType, Number, Operand, Tensor, arithmetic, compare, dtype, floats, linalg, matmul, shape};
use crate::{bail, err};

crate::options! {
    /// What all descents take.
    #[derive(Debug, Clone)]
    pub struct DescentOptions {
        /// Peak learning rate.
        lr: f64 = 1e-3 => above(0.0);
        /// Learning rate schedule.
        schedule: ScheduleShape = ScheduleShape::Constant;
        /// Steps of learning rate warm-up.
        warmup: u64 = 0;
        /// Steps after which the learning rate has decayed; a schedule other than "constant" needs it.
        steps: Option<u64> = None => usually("none").at_least(1.0);
        /// Steps on which the learning rate of "trapezoid" decays.
        decay: Option<u64> = None => usually("a fifth of the steps");
        /// Maximum gradient norm, over all parameters together.
        clip: Option<f64> = None => usually("none").above(0.0);
        /// Parameters whose rows keep length 1: their names, or true for all.
        unit: ParameterChoice = ParameterChoice::default() => usually("none");
        /// Parameters that keep orthonormal columns, or rows where those are fewer: their names, or true for all.
        orthogonal: ParameterChoice = ParameterChoice::default() => usually("none");
        /// Bounds of the numbers, [low, high], or a map from names of parameters to bounds.
        range: ParameterRanges = ParameterRanges::default() => usually("none");
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct AdamWOptions {
        /// Decay rates of the gradient's moments.
        betas: [f64; 2] = [0.9, 0.999] => at_least(0.0).at_most(1.0);
        /// What is added to the divisor.
        eps: f64 = 1e-8 => above(0.0);
        /// Weight decay, apart from the gradient: a step multiplies parameters by 1 - lr weight_decay.
        weight_decay: f64 = 0.01 => at_least(0.0);
        with descent: DescentOptions;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct AdamOptions {
        /// Decay rates of the gradient's moments.
        betas: [f64; 2] = [0.9, 0.999] => at_least(0.0).at_most(1.0);
        /// What is added to the divisor.
        eps: f64 = 1e-8 => above(0.0);
        /// Weight decay within the gradient: this times the parameter is added to it.
        weight_decay: f64 = 0.0 => at_least(0.0);
        with descent: DescentOptions;
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct SgdOptions {
        /// What is kept of the change of the step before.
        momentum: f64 = 0.0 => at_least(0.0).at_most(1.0);
        /// Weight decay within the gradient: this times the parameter is added to it.
        weight_decay: f64 = 0.0 => at_least(0.0);
        with descent: DescentOptions;
    }
}

/// Which parameters an option is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterChoice {
    All,
    Named(Vec<String>),
}

impl Default for ParameterChoice {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Setting for ParameterChoice {
    fn wanted() -> String {
        "names of parameters, or true for all".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match value {
            Plain::Flag(true) => Some(Self::All),
            Plain::Flag(false) => Some(Self::default()),
            names => Vec::of(names).map(Self::Named),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::All => "true".into(),
            Self::Named(names) => names.written(),
        }
    }
}

impl ParameterChoice {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }

    fn names(&self) -> &[String] {
        if let Self::Named(names) = self { names } else { &[] }
    }
}

/// Bounds of all parameters, or of some by name.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterRanges {
    All([f64; 2]),
    Named(BTreeMap<String, [f64; 2]>),
}

impl Default for ParameterRanges {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl Setting for ParameterRanges {
    fn wanted() -> String {
        "two numbers, [low, high], or a map from names of parameters to such".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let fits = |range: &[f64; 2]| range[0] < range[1];
        if let Some(all) = <[f64; 2]>::of(value) {
            return fits(&all).then_some(Self::All(all));
        }
        let named: BTreeMap<String, [f64; 2]> = BTreeMap::of(value)?;
        named.values().all(fits).then_some(Self::Named(named))
    }

    fn written(&self) -> String {
        match self {
            Self::All(range) => range.written(),
            Self::Named(ranges) => ranges.written(),
        }
    }
}

impl ParameterRanges {
    fn of_parameter(&self, name: &str) -> Option<[f64; 2]> {
        match self {
            Self::All(range) => Some(*range),
            Self::Named(ranges) => ranges.get(name).copied(),
        }
    }

    fn names(&self) -> Vec<String> {
        if let Self::Named(ranges) = self { ranges.keys().cloned().collect() } else { Vec::new() }
    }
}

/// How a gradient changes a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DescentRule {
    /// Loshchilov and Hutter 2019: weight decay apart from the gradient.
    AdamW { betas: [f64; 2], eps: f64, weight_decay: f64 },
    /// Kingma and Ba 2015, with weight decay within the gradient.
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
    /// One that begins at these parameters, which are brought within the constraints first.
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

    /// The number of steps made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The learning rate of the next step.
    pub fn rate(&self) -> f64 {
        self.optimizer.rate(self.made)
    }

    /// Copies of the parameters as they are.
    pub fn parameters(&self) -> Result<Vec<Tensor>> {
        self.parameters.iter().map(|parameter| Ok(parameter.weight.as_detached_tensor().copy()?)).collect()
    }

    /// One step: the loss at the parameters as they were, which then change. A step that fails changes nothing.
    pub fn step(&mut self, loss: &mut TensorFunction, task: &Task) -> Result<f64> {
        let found = value_and_gradients(loss, &self.parameters()?, task)?;
        self.update(&found)?;
        Ok(found.value)
    }

    /// The second half of a step, with a loss and its gradients at the parameters. One that fails changes nothing.
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

    /// The error of a gradient that is not finite, by the name of the parameter.
    fn broken(&self, gradients: &[Tensor], norm: f64) -> Result<crate::base::Error> {
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

    /// A parameter after the update, as a copy.
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
                let settings = AdamW { decay: weight_decay, ..settings };
                kernels::adamw_step(&next.weight, gradient, [&next.moments[0], &next.moments[1]], settings)?;
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
                kernels::adamw_step(&next.weight, &gradient, [&next.moments[0], &next.moments[1]], settings)?;
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
            let (name, step) = (&next.name, self.made + 1);
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

/// What holds of a parameter after each step.
struct Constraint<'a> {
    name: &'a str,
    is_unit: bool,
    is_orthogonal: bool,
    range: Option<[f64; 2]>,
}

impl<'a> Constraint<'a> {
    fn of(name: &'a str, options: &DescentOptions) -> Result<Self> {
        let (is_unit, is_orthogonal) = (options.unit.has(name), options.orthogonal.has(name));
        let range = options.range.of_parameter(name);
        if u8::from(is_unit) + u8::from(is_orthogonal) + u8::from(range.is_some()) > 1 {
            return Err(err!(Argument, "expected one of `unit`, `orthogonal` and `range` for `{name}`, found several")
                .hint("they would undo each other"));
        }
        Ok(Self { name, is_unit, is_orthogonal, range })
    }

    fn is_none(&self) -> bool {
        !self.is_unit && !self.is_orthogonal && self.range.is_none()
    }

    /// The nearest tensor within the constraint, or for `orthogonal` the Q of its QR decomposition.
    fn enforced(&self, t: &Tensor) -> Result<Tensor> {
        if self.is_unit {
            return self.unit_rows(t);
        }
        if self.is_orthogonal {
            return self.orthonormal(t, |t| Ok(linalg::qr(t)?.0));
        }
        let Some([low, high]) = self.range else { return Ok(t.clone()) };
        compare::clamp(t, Some(Number::Float(low)), Some(Number::Float(high)))
    }

    /// The tensor after a step within the constraint. The step of an orthonormal matrix W is first projected onto the
    /// tangent space, D - W sym(W^T D) (Edelman et al. 1998, section 2.4.2), and then retracted by a QR decomposition
    /// (Absil et al. 2008, example 4.1.3).
    fn moved(&self, before: &Tensor, after: &Tensor) -> Result<Tensor> {
        if !self.is_orthogonal {
            return self.enforced(after);
        }
        let side = |t: &Tensor| -> Result<Tensor> {
            if is_wide(t) { Ok(shape::transpose(t, 0, 1)?.contiguous()?) } else { Ok(t.clone()) }
        };
        let w = dtype::convert(&side(before)?, DType::F64)?;
        self.orthonormal(after, |tall| {
            let step = arithmetic::sub(&tall.into(), &(&w).into())?;
            let inner = matmul::matmul(&shape::transpose(&w, 0, 1)?, &step)?;
            let symmetric = ((&inner + shape::transpose(&inner, 0, 1)?)? * 0.5)?;
            let tangent = (step - matmul::matmul(&w, &symmetric)?)?;
            Ok(linalg::qr(&(&w + tangent)?)?.0)
        })
    }

    /// `of` the tall form of a matrix in f64, back in its own form and dtype.
    fn orthonormal(&self, t: &Tensor, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if t.rank() != 2 {
            let name = self.name;
            return Err(err!(Shape, "expected a matrix for `{name}` in `orthogonal`, found shape {:?}", t.dims()));
        }
        let wide = dtype::convert(t, DType::F64)?;
        let found = match is_wide(t) {
            true => shape::transpose(&of(&shape::transpose(&wide, 0, 1)?.contiguous()?)?, 0, 1)?.contiguous()?,
            false => of(&wide)?,
        };
        dtype::convert(&found, t.dtype())
    }

    fn unit_rows(&self, t: &Tensor) -> Result<Tensor> {
        let name = self.name;
        if t.rank() == 0 {
            bail!(Shape, "expected rows for `{name}` in `unit`, found a number");
        }
        let sizes = reduce(t, Reduction::Norm { p: 2.0 }, Some(&[-1]), true)?;
        if floats(&sizes)?.contains(&0.0) {
            return Err(err!(Numeric, "a row of `{name}` is 0, and has no direction to keep at length 1"));
        }
        arithmetic::div(&t.into(), &Operand::Tensor(sizes))
    }
}

fn is_wide(t: &Tensor) -> bool {
    matches!(t.dims(), [rows, columns] if rows < columns)
}

/// Steps of a descent, one after the other, with the loss beside the progress bar. An interruption ends them early. Returns
/// the losses of the steps made.
pub fn descend(steps: u64, step: impl FnMut() -> Result<f64>, task: &Task) -> Result<Vec<f64>> {
    let mut course = Course { steps, step, losses: Vec::new() };
    let _ended: Ended = run(&mut course, task)?;
    Ok(course.losses)
}

struct Course<F> {
    steps: u64,
    step: F,
    losses: Vec<f64>,
}

impl<F: FnMut() -> Result<f64>> Trainer for Course<F> {
    fn label(&self) -> String {
        "descending".into()
    }

    fn steps(&self) -> u64 {
        self.steps
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

    fn left(&self) -> String {
        "the losses so far, and the parameters stay as they are".into()
    }
}

#[cfg(test)]
mod tests;
