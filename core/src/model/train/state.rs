//! The state of a training: weights, moments, and the number of steps.

use std::sync::Arc;

use super::examples::Examples;
use super::history::{ModelHistory, ModelStep};
use super::loss::{Regularisation, loss};
use super::recipe::Recipe;
use crate::base::{Result, Task};
use crate::err;
use crate::model::adapter::AdapterParts;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::weights::Weights;
use crate::tensor::{Tensor, float};
use crate::training::Parameter;
use kernels::{AdamW, Gradients, TapedTensor};

pub struct TrainingState {
    pub step: u64,
    pub parameters: Vec<Parameter<String>>,
    pub history: ModelHistory,
    trained: Trained,
}

/// The numbers that a training changes, as variables and detached from these.
#[derive(Clone)]
enum Trained {
    /// All weights of a model.
    Weights { tracked: Arc<Decoder>, plain: Arc<Decoder> },
    /// Low-rank matrices beside the weights of a model. Rows of them are sliced out for each of its weights, partly as
    /// copies, so that the model is made anew for every pass.
    Adapter { base: Arc<Decoder>, tracked: Box<AdapterParts>, plain: Box<AdapterParts> },
}

impl Trained {
    fn tracked(&self) -> Result<Arc<Decoder>> {
        match self {
            Self::Weights { tracked, .. } => Ok(tracked.clone()),
            Self::Adapter { base, tracked, .. } => beside(base, tracked),
        }
    }

    fn plain(&self) -> Result<Arc<Decoder>> {
        match self {
            Self::Weights { plain, .. } => Ok(plain.clone()),
            Self::Adapter { base, plain, .. } => beside(base, plain),
        }
    }
}

fn beside(base: &Decoder, parts: &AdapterParts) -> Result<Arc<Decoder>> {
    Ok(Arc::new(base.with_weights(parts.applied(base.config(), base.weights(), 1.0)?)))
}

/// Adds a parameter that begins as this weight, and returns its variable.
fn begun(parameters: &mut Vec<Parameter<String>>, name: String, weight: &Tensor) -> Result<Tensor> {
    let parameter = Parameter::new(name, weight)?;
    let variable = parameter.weight.as_tensor().clone();
    parameters.push(parameter);
    Ok(variable)
}

/// Returns the weight of the next parameter, detached from its variable.
fn detached(next: Option<&Parameter<String>>) -> Result<Tensor> {
    let parameter = next.ok_or_else(|| err!(Bug, "a weight that was not there before"))?;
    Ok(parameter.weight.as_detached_tensor())
}

impl TrainingState {
    /// Makes the state that begins with these weights, by the names of the config.
    pub fn new(config: &Config, weights: &mut dyn FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let mut parameters = Vec::new();
        let tracked = Weights::build(config, &mut |name, _| begun(&mut parameters, name.into(), &weights(name)?))?;
        let mut in_order = parameters.iter();
        let plain = Weights::build(config, &mut |_, _| detached(in_order.next()))?;
        let [tracked, plain] = [tracked, plain].map(|weights| Arc::new(Decoder::new(config.clone(), weights)));
        let trained = Trained::Weights { tracked, plain };
        Ok(Self { step: 0, parameters, history: ModelHistory::default(), trained })
    }

    /// Makes the state of a training that begins with this adapter and leaves the base as it is.
    pub fn of_adapter(base: Arc<Decoder>, parts: &AdapterParts) -> Result<Self> {
        let mut parameters = Vec::new();
        let tracked = parts.with(&mut |name, matrix| begun(&mut parameters, name, matrix))?;
        let mut in_order = parameters.iter();
        let plain = parts.with(&mut |_, _| detached(in_order.next()))?;
        let trained = Trained::Adapter { base, tracked: Box::new(tracked), plain: Box::new(plain) };
        Ok(Self { step: 0, parameters, history: ModelHistory::default(), trained })
    }

    /// Returns the current model; its weights may change with further steps.
    pub fn decoder(&self) -> Result<Arc<Decoder>> {
        self.trained.plain()
    }

    pub fn config(&self) -> &Config {
        match &self.trained {
            Trained::Weights { plain, .. } => plain.config(),
            Trained::Adapter { base, .. } => base.config(),
        }
    }

    /// Returns the current adapter, if that is what is trained; its matrices change with further steps.
    pub fn adapter(&self) -> Option<&AdapterParts> {
        match &self.trained {
            Trained::Weights { .. } => None,
            Trained::Adapter { plain, .. } => Some(plain),
        }
    }

    /// Makes one step: the gradient of the mean loss over all passes, clipped, and an update of every weight. A step
    /// that fails changes nothing.
    pub fn advance(&mut self, passes: &[Examples], recipe: &Recipe, task: &Task) -> Result<()> {
        let total: f64 = passes.iter().map(Examples::weight).sum();
        let mut gradients: Vec<Option<Tensor>> = vec![None; self.parameters.len()];
        let mut mean = 0.0;
        let added = recipe.added.bound(self.config())?;
        for (index, examples) in passes.iter().enumerate() {
            let pass = self.step * passes.len() as u64 + index as u64;
            let Recipe { dropout, neuron_l1, seed, .. } = *recipe;
            let by = Regularisation { dropout, neuron_l1, added: added.clone(), seed, pass };
            let (part, found) = self.pass(examples, total, by, task)?;
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
                // Norms and biases have no weight decay.
                let decay = if parameter.weight.rank() >= 2 { recipe.weight_decay } else { 0.0 };
                parameter.step(gradient, AdamW { decay, ..update })?;
            }
            if let Some(sparse) = &recipe.sparse {
                sparse.enforce(parameter, sparse.share(self.step, recipe.steps))?;
            }
        }
        self.history.steps.push(ModelStep { loss: mean, norm, rate: update.rate });
        self.step += 1;
        Ok(())
    }

    /// Runs a forward and backward pass that changes nothing.
    pub fn try_pass(&self, examples: &Examples, task: &Task) -> Result<()> {
        self.pass(examples, examples.weight(), Regularisation::default(), task).map(|_| ())
    }

    /// Computes the loss of some examples, without penalties, and the gradients of their sum, on a separate thread, so that an interruption need not
    /// wait for them.
    fn pass(&self, examples: &Examples, whole: f64, by: Regularisation, task: &Task) -> Result<(f64, Gradients)> {
        let trained = self.trained.clone();
        let examples = examples.clone();
        let within = task.clone();
        task.apart(move || {
            let mut mean = f64::NAN;
            let taped = TapedTensor::of(|| {
                let found = loss(trained.tracked()?.as_ref(), &examples, whole, &by, &within)?;
                mean = float(&found.tokens)?;
                found.sum()
            })?;
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
