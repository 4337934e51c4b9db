//! The state of a training: weights, moments, and the number of steps.

use std::sync::Arc;

use super::examples::Examples;
use super::history::{ModelHistory, ModelStep};
use super::loss::{Dropout, loss};
use super::recipe::Recipe;
use crate::base::{Result, Task};
use crate::err;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::weights::Weights;
use crate::tensor::{DType, Number, Tensor};
use crate::training::Parameter;
use kernels::{AdamW, Gradients, TapedTensor};

pub struct TrainingState {
    pub step: u64,
    pub parameters: Vec<Parameter<String>>,
    pub history: ModelHistory,
    /// The model whose weights are the variables.
    tracked: Arc<Decoder>,
    /// The model with its weights detached.
    plain: Arc<Decoder>,
}

impl TrainingState {
    /// Makes the state that begins with these weights, by the names of the config.
    pub fn new(config: &Config, weights: &mut dyn FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let mut parameters = Vec::new();
        let tracked = Weights::build(config, &mut |name, _| {
            let parameter = Parameter::new(name.to_string(), &weights(name)?)?;
            let tensor = parameter.weight.as_tensor().clone();
            parameters.push(parameter);
            Ok(tensor)
        })?;
        let mut in_order = parameters.iter();
        let plain = Weights::build(config, &mut |_, _| match in_order.next() {
            Some(parameter) => Ok(parameter.weight.as_detached_tensor()),
            None => Err(err!(Bug, "a weight that was not there before")),
        })?;
        let tracked = Decoder::new(config.clone(), tracked);
        let plain = Decoder::new(config.clone(), plain);
        Ok(Self {
            step: 0,
            parameters,
            history: ModelHistory::default(),
            tracked: Arc::new(tracked),
            plain: Arc::new(plain),
        })
    }

    /// Returns the current model; its weights change with further steps.
    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.plain
    }

    /// Makes one step: the gradient of the mean loss over all passes, clipped, and an update of every weight. A step
    /// that fails changes nothing.
    pub fn advance(&mut self, passes: &[Examples], recipe: &Recipe, task: &Task) -> Result<()> {
        let total: f64 = passes.iter().map(Examples::weight).sum();
        let mut gradients: Vec<Option<Tensor>> = vec![None; self.parameters.len()];
        let mut mean = 0.0;
        for (index, examples) in passes.iter().enumerate() {
            let pass = self.step * passes.len() as u64 + index as u64;
            let dropout = Dropout { share: recipe.dropout, seed: recipe.seed, pass };
            let (part, found) = self.pass(examples, total, dropout, task)?;
            mean += part;
            self.gather(&mut gradients, found)?;
        }
        let norm = kernels::global_norm(gradients.iter().flatten())?;
        if !mean.is_finite() || !norm.is_finite() {
            let what =
                if mean.is_finite() { format!("the gradient's norm is {norm}") } else { format!("the loss is {mean}") };
            return Err(err!(Argument, "{what} at step {}", self.step + 1)
                .hint("try a lower `lr`, a longer `warmup` or a smaller `clip`"));
        }
        let update = recipe.optimizer().update(self.step, norm);
        for (parameter, gradient) in self.parameters.iter().zip(&gradients) {
            if let Some(gradient) = gradient {
                let [first, second] = &parameter.moments;
                // Norms and biases have no weight decay.
                let decay = if parameter.weight.rank() >= 2 { recipe.weight_decay } else { 0.0 };
                kernels::adamw_step(&parameter.weight, gradient, [first, second], AdamW { decay, ..update })?;
            }
        }
        self.history.steps.push(ModelStep { loss: mean, norm, rate: update.rate });
        self.step += 1;
        Ok(())
    }

    /// Runs a forward and backward pass that changes nothing.
    pub fn try_pass(&self, examples: &Examples, task: &Task) -> Result<()> {
        self.pass(examples, examples.weight(), Dropout::NONE, task).map(|_| ())
    }

    /// Computes the loss of some examples and its gradients, on a separate thread, so that an interruption need not
    /// wait for them.
    fn pass(&self, examples: &Examples, whole: f64, dropout: Dropout, task: &Task) -> Result<(f64, Gradients)> {
        let decoder = self.tracked.clone();
        let examples = examples.clone();
        let within = task.clone();
        task.apart(move || {
            let taped = TapedTensor::of(|| loss(&decoder, &examples, whole, dropout, &within))?;
            let mean = Number::of(&taped.number().to_dtype(DType::F64)?)?.as_f64();
            Ok((mean, taped.backward()?))
        })
    }

    fn gather(&self, gradients: &mut [Option<Tensor>], mut found: Gradients) -> Result<()> {
        for (sum, parameter) in gradients.iter_mut().zip(&self.parameters) {
            let Some(gradient) = found.take(&parameter.weight) else { continue };
            *sum = Some(match sum.take() {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            });
        }
        Ok(())
    }
}
