//! The fit of transcoder adapters: steps of Adam on the texts of two models.

use rand::RngExt;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::branch::{Branch, TENSORS};
use super::hybrid::hybrid;
use super::loss::{Lesson, LossStep, StepLosses};
use super::options::AdapterOptions;
use crate::base::files::hex;
use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::data::{Text, harvest};
use crate::diff::ModelPair;
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::fingerprint::fingerprint;
use crate::sae::text_rows::{CONTEXT, StepOrder, whole_rows};
use crate::sae::{About, Activation, KindLabel, Parts, ReadSite, Sae, Scaling};
use crate::tensor::Tensor;
use crate::training::{
    self, CheckpointFolder, CheckpointFormat, Checkpoints, FitCheckpoints, INTERVALS, Optimizer, Parameter, Trainer,
    losses_of_step, means,
};

const FORMAT: CheckpointFormat = CheckpointFormat {
    file: "adapters.safetensors",
    kind: "microtome fit of transcoder adapters, 1",
    of: "a fit of transcoder adapters",
};

/// Transcoder adapters of all layers, from the first on, each a dictionary that reads what an MLP reads and adds to what it
/// writes; and the losses of each step.
#[derive(Debug, Clone)]
pub struct FittedAdapters {
    pub adapters: Vec<Sae>,
    pub losses: Vec<StepLosses>,
}

/// Fits transcoder adapters on a text. An interruption ends the fit early: the result is the adapters as they are.
pub fn fit(
    pair: ModelPair,
    text: &Text,
    options: &AdapterOptions,
    folder: Option<CheckpointFolder>,
    task: &Task,
) -> Result<FittedAdapters> {
    let mut fitting = Fitting::new(pair, text, options, folder, task)?;
    training::run(&mut fitting, task)?;
    let branches = Branch::of(&fitting.tensors());
    let record = record(options, &fitting.losses);
    let model = fitting.hybrid.name().to_string();
    let adapters = branches.iter().enumerate().map(|(layer, branch)| dictionary(branch, layer, &model, record.clone()));
    Ok(FittedAdapters { adapters: adapters.collect::<Result<_>>()?, losses: fitting.losses })
}

/// A fit that runs.
struct Fitting<'a> {
    pair: ModelPair<'a>,
    hybrid: Model,
    options: &'a AdapterOptions,
    optimizer: Optimizer,
    rows: Vec<Vec<u32>>,
    parameters: Vec<Parameter<String>>,
    losses: Vec<StepLosses>,
    checkpoints: Option<FitCheckpoints<'a>>,
}

impl<'a> Fitting<'a> {
    fn new(
        pair: ModelPair<'a>,
        text: &Text,
        options: &'a AdapterOptions,
        folder: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        let hybrid = hybrid(pair)?;
        let optimizer = options.optimizer();
        optimizer.check()?;
        let config = hybrid.decoder.config();
        config.expect_next_token("a fit of transcoder adapters")?;
        let features = options.features.unwrap_or(4 * config.d_model);
        let device = hybrid.decoder.device();
        // Weights, their moments and gradients.
        let weights = (features as u128).saturating_mul(32 * (config.layers * config.d_model) as u128);
        memory::check_on(device, weights, || "transcoder adapters".into()).map_err(|e| e.about("features"))?;
        // Logits of both models and their gradients.
        let tokens = options.batch as u128 * harvest::context_or(config, options.context, CONTEXT)? as u128;
        let bytes = tokens.saturating_mul(24 * config.outputs() as u128);
        memory::check(bytes, || "a step of transcoder adapters".into()).map_err(|e| e.about("batch"))?;
        let rows = rows(pair, text, options, task)?;
        let mut random = stream(options.seed.draws(), "transcoder adapters", 0);
        let mut parameters = Vec::new();
        for layer in 0..config.layers {
            let branch = Branch::begun(features, config.d_model, device, &mut random)?;
            for (name, tensor) in TENSORS.iter().zip(branch.tensors()) {
                parameters.push(Parameter::new(format!("{layer}.{name}"), tensor)?);
            }
        }
        let identity = json!({
            "base": hex(&fingerprint(&pair.base.decoder, task)?),
            "tuned": hex(&fingerprint(&pair.tuned.decoder, task)?),
            "text": hex(&Sha256::digest(json!(rows).to_string())),
            "options": options.json(),
        });
        let mut checkpoints =
            folder.map(|folder| FitCheckpoints::open(folder, &FORMAT, || Ok(identity))).transpose()?;
        let [other, same] = ["other models or another text", "the same models, text"];
        let losses = match &mut checkpoints {
            Some(kept) => kept.resume_parameters(other, same, &parameters)?.unwrap_or_default(),
            None => Vec::new(),
        };
        Ok(Self { pair, hybrid, options, optimizer, rows, parameters, losses, checkpoints })
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.weight.as_detached_tensor()).collect()
    }

    /// Returns the rows of a step.
    fn batch(&self, step: u64) -> Result<Batch> {
        let seed = self.options.seed.draws();
        let order = StepOrder { batch: self.options.batch, seed, stream: "transcoder adapters' rows" };
        Batch::new(order.places(self.rows.len(), step).into_iter().map(|place| self.rows[place].clone()).collect())
    }
}

/// Makes the dictionary of an adapter of a model, with a record of its fit.
pub(super) fn dictionary(branch: &Branch, layer: usize, model: &str, record: Map<String, Value>) -> Result<Sae> {
    let branch = branch.with_unit_directions()?;
    let about = About {
        kind: KindLabel::of_transcoders(false),
        models: vec![model.to_string().into()],
        sites: vec![ReadSite::new(format!("mlp_in.{layer}"))],
        writes: Some(format!("mlp_out.{layer}")),
        more: record,
        ..About::default()
    };
    Sae::new(Parts {
        encoder: branch.encoder,
        encoder_bias: Some(branch.encoder_bias),
        activation: Activation::Relu,
        decoder: branch.decoder,
        decoder_bias: Some(branch.decoder_bias),
        centred: false,
        rescaled: false,
        skip: None,
        scaling: Scaling::None,
        about,
    })
}

/// Returns what the metadata of adapters says of their fit.
fn record(options: &AdapterOptions, losses: &[StepLosses]) -> Map<String, Value> {
    let [kl, l0] = [means(losses, INTERVALS, |step| step.kl), means(losses, INTERVALS, |step| step.l0)];
    let record = json!({ "options": options.json(), "steps": losses.len(), "kl": kl, "l0": l0 });
    Map::from_iter([("transcoder_adapter".into(), record)])
}

/// Reads the rows of a text that have the full length; refuses a text that the two models read differently.
fn rows(pair: ModelPair, text: &Text, options: &AdapterOptions, task: &Task) -> Result<Vec<Vec<u32>>> {
    let read = |model: &Model| whole_rows(model, text, options.rows, options.context, task);
    pair.agreed(read(pair.base)?, &read(pair.tuned)?)
}

impl Trainer for Fitting<'_> {
    fn label(&self) -> String {
        "fitting transcoder adapters".into()
    }

    fn steps(&self) -> u64 {
        self.options.steps
    }

    fn made(&self) -> u64 {
        self.losses.len() as u64
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let made = self.made();
        let lesson = Lesson::of(&self.pair.tuned.decoder, self.batch(made)?, task)?;
        let layers = self.pair.tuned.decoder.config().layers;
        let cut = stream(self.options.seed.draws(), "transcoder adapters' cuts", made).random_range(0..=layers);
        let step = LossStep { pair: self.pair, hybrid: &self.hybrid.decoder, weights: &self.options.loss };
        let (losses, gradients) = step.losses(&self.tensors(), &lesson, cut, task)?;
        let norm = kernels::global_norm(&gradients)?;
        if !norm.is_finite() || !losses.kl.is_finite() {
            return Err(err!(
                Numeric,
                "the loss is {} at step {}, with a gradient of norm {norm}",
                losses.kl,
                made + 1
            )
            .hint("try a lower `lr`; NaN or infinity in the models' activations has the same effect"));
        }
        let settings = self.optimizer.update(made, norm);
        for (parameter, gradient) in self.parameters.iter().zip(&gradients) {
            parameter.step(gradient, settings)?;
        }
        self.losses.push(losses);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        self.losses.last().map_or_else(String::new, |step| {
            format!("KL {:.4}, streams {:.4}, L0 {:.1}, {speed:.1} steps/s", step.kl, step.streams, step.l0)
        })
    }

    fn settings_of(&self, _member: usize) -> Value {
        self.options.json()
    }

    fn numbers_of(&self, _member: usize, step: u64) -> Vec<(&'static str, f64)> {
        losses_of_step(&self.losses, step)
    }

    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.checkpoints.as_ref().map(|kept| &kept.files)
    }

    fn save(&mut self) -> Result<()> {
        let Some(kept) = &mut self.checkpoints else { return Ok(()) };
        kept.save_parameters(&self.parameters, &self.losses)
    }

    fn left(&self) -> String {
        "the adapters as they are".into()
    }
}
