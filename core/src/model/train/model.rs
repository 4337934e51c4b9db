//! Training as one call: from a config or a model to the trained model.

use std::sync::Arc;

use super::examples::Batches;
use super::recipe::Recipe;
use super::run::{HeldOut, InitialWeights, TrainedModel, Training};
use crate::base::counts::count;
use crate::base::{Result, Task, memory, task};
use crate::err;
use crate::model::Model;
use crate::model::adapter::AdapterParts;
use crate::model::config::Config;
use crate::model::layout::PublishedForm;
use crate::tensor::Device;
use crate::tokenizer::Tokenizer;
use crate::training::{CheckpointFolder, Trainer};

/// The model of a training: a new one, or an existing one.
pub enum Trainee {
    New(Box<(Config, Option<PublishedForm>)>),
    Model(Model),
    /// A model, and the adapter that is trained beside its weights.
    Adapter {
        base: Model,
        parts: AdapterParts,
    },
}

impl Trainee {
    pub fn config(&self) -> &Config {
        match self {
            Trainee::New(described) => &described.0,
            Trainee::Model(model) | Trainee::Adapter { base: model, .. } => model.decoder.config(),
        }
    }

    fn beginning(&self) -> InitialWeights<'_> {
        match self {
            Trainee::New(described) => InitialWeights::New(&described.0),
            Trainee::Model(model) => InitialWeights::Model(&model.decoder),
            Trainee::Adapter { base, parts } => InitialWeights::Adapter { base: &base.decoder, parts },
        }
    }

    /// Makes the model of what was trained.
    fn trained(&self, trained: TrainedModel, tokenizer: Option<Tokenizer>) -> Result<Model> {
        let TrainedModel { decoder, adapter, history, .. } = trained;
        let steps = count(history.steps.len(), "step");
        let (origin, published) = match self {
            Trainee::New(described) => (format!("trained here, {steps}"), described.1.clone().map(Arc::new)),
            Trainee::Model(model) => (format!("{}, trained on", model.name()), model.published.clone()),
            Trainee::Adapter { base, .. } => {
                let parts = adapter.ok_or_else(|| err!(Bug, "a training of an adapter without one"))?;
                let model = base.with_adapter(format!("an adapter trained here, {steps}"), Arc::new(parts), 1.0)?;
                return Ok(Model { tokenizer, history: Some(Arc::new(history)), ..model });
            }
        };
        let history = Some(Arc::new(history));
        Ok(Model { published, history, ..Model::new(decoder, tokenizer, origin) })
    }
}

/// The data of a training: rows to train on, those to evaluate on, and where checkpoints are saved.
pub struct TrainingData<'a> {
    pub rows: Box<dyn Batches + 'a>,
    pub held_out: Option<HeldOut>,
    pub checkpoints: Option<CheckpointFolder<'a>>,
}

/// Trains a model, leaving the given one unchanged. Ctrl-C ends the training early: the result is the model so far.
pub fn train(
    trainee: &Trainee,
    tokenizer: Option<Tokenizer>,
    recipe: Recipe,
    data: TrainingData,
    device: &Device,
    task: &Task,
) -> Result<Model> {
    let TrainingData { rows, held_out, checkpoints } = data;
    let training = Training::new(trainee.beginning(), recipe, rows, held_out, checkpoints, device, task)
        .map_err(|e| e.about("options"))?;
    announce(&training, task);
    trainee.trained(training.run(task)?, tokenizer)
}

/// Reports the estimated tokens, memory and time.
fn announce(training: &Training, task: &Task) {
    let estimate = training.estimate();
    let before = match training.made() {
        0 => String::new(),
        made => format!(", resumed after step {made}"),
    };
    task.say(&format!(
        "training {} for {} ({} in all{before}): about {} of memory and {}",
        count(estimate.parameters as usize, "parameter"),
        count(training.steps() as usize, "step"),
        count(estimate.tokens as usize, "token"),
        memory::human(estimate.bytes),
        task::human(estimate.seconds),
    ));
}
