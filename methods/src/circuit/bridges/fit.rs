//! The fit of bridges together with the weights of the sparse model: steps of Adam on a text.

use kernels::AdamW;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::loss::{BridgeStep, Lesson, StepLosses, with_weights};
use super::options::BridgeOptions;
use super::{Bridges, TENSORS, dictionary, sites};
use crate::base::files::hex;
use crate::base::random::stream;
use crate::base::{Result, Task, memory};
use crate::data::{Text, harvest};
use crate::err;
use crate::model::Model;
use crate::model::batch::Batch;
use crate::model::fingerprint::fingerprint;
use crate::model::site::Site;
use crate::sae::text_rows::{CONTEXT, StepOrder, whole_rows};
use crate::sae::{About, ReadSite};
use crate::tensor::{DType, Device, Tensor};
use crate::training::{
    self, CheckpointFolder, CheckpointFormat, Checkpoints, FitCheckpoints, INTERVALS, Optimizer, Parameter, Trainer,
    losses_of_step, means,
};

const FORMAT: CheckpointFormat =
    CheckpointFormat { file: "bridges.safetensors", kind: "microtome fit of bridges, 1", of: "a fit of bridges" };

/// Fits bridges between a dense model, which stays as it is, and a sparse one, whose weights are trained from those given. An
/// interruption ends the fit early: the result is the bridges and the sparse model as they are.
pub fn fit(
    dense: &Model,
    sparse: &Model,
    text: &Text,
    options: &BridgeOptions,
    folder: Option<CheckpointFolder>,
    task: &Task,
) -> Result<Bridges> {
    let mut fitting = Fitting::new(dense, sparse, text, options, folder, task)?;
    training::run(&mut fitting, task)?;
    fitting.finished()
}

/// A fit that runs.
struct Fitting<'a> {
    dense: &'a Model,
    sparse: &'a Model,
    sites: Vec<Site>,
    active: usize,
    options: &'a BridgeOptions,
    optimizer: Optimizer,
    rows: Vec<Vec<u32>>,
    /// Weights of the sparse model, and behind them the tensors of each bridge.
    parameters: Vec<Parameter<String>>,
    /// Number of the weights.
    count: usize,
    losses: Vec<StepLosses>,
    checkpoints: Option<FitCheckpoints<'a>>,
}

impl<'a> Fitting<'a> {
    fn new(
        dense: &'a Model,
        sparse: &'a Model,
        text: &Text,
        options: &'a BridgeOptions,
        folder: Option<CheckpointFolder<'a>>,
        task: &Task,
    ) -> Result<Self> {
        let sites = sites::common(dense, sparse)?;
        let optimizer = options.optimizer();
        optimizer.check()?;
        if sparse.decoder.dtype() != DType::F32 {
            let found = sparse.decoder.dtype().as_str();
            return Err(err!(Argument, "expected a sparse model in f32 to train, found {found}")
                .hint("load it with #{ dtype: \"f32\" }")
                .about("sparse"));
        }
        let [d_dense, d_sparse] = [dense, sparse].map(|model| model.decoder.config().d_model);
        let active = options.active.unwrap_or((d_sparse / 4).max(1));
        if active > d_sparse {
            return Err(err!(
                Argument,
                "expected at most {d_sparse} for `active`, the sparse model's width, found {active}"
            )
            .about("active"));
        }
        check_memory(dense, sparse, options)?;
        let rows = rows(dense, sparse, text, options, task)?;
        let mut parameters = Vec::new();
        for (name, weight) in sparse.decoder.weights().named(sparse.decoder.config())? {
            parameters.push(Parameter::new(name, &weight.tensor()?)?);
        }
        let count = parameters.len();
        let mut random = stream(options.seed.draws(), "bridges", 0);
        for site in &sites {
            let drawn = begun(d_dense, d_sparse, sparse.decoder.device(), &mut random)?;
            for (name, tensor) in TENSORS.iter().zip(drawn) {
                parameters.push(Parameter::new(format!("{site}.{name}"), &tensor)?);
            }
        }
        let identity = json!({
            "dense": hex(&fingerprint(&dense.decoder, task)?),
            "sparse": hex(&fingerprint(&sparse.decoder, task)?),
            "text": hex(&Sha256::digest(json!(rows).to_string())),
            "options": options.json(),
        });
        let mut checkpoints =
            folder.map(|folder| FitCheckpoints::open(folder, &FORMAT, || Ok(identity))).transpose()?;
        let losses = match &mut checkpoints {
            Some(kept) => {
                let found =
                    kept.resume_parameters("other models or another text", "the same models, text", &parameters)?;
                found.unwrap_or_default()
            }
            None => Vec::new(),
        };
        Ok(Self { dense, sparse, sites, active, options, optimizer, rows, parameters, count, losses, checkpoints })
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|parameter| parameter.weight.as_detached_tensor()).collect()
    }

    /// Returns the texts of a step.
    fn lesson(&self, step: u64, task: &Task) -> Result<Lesson> {
        let seed = self.options.seed.draws();
        let order = StepOrder { batch: self.options.batch, seed, stream: "bridges' rows" };
        let places = order.places(self.rows.len(), step);
        let batch = Batch::new(places.into_iter().map(|place| self.rows[place].clone()).collect())?;
        let with_next = |(row, length): (usize, usize)| (0..length - 1).map(move |column| (row, column));
        let points = batch.lengths().into_iter().enumerate().flat_map(with_next).collect();
        Lesson::of(&self.dense.decoder, &self.sites, batch, points, task)
    }

    /// Makes the models and dictionaries of the fit.
    fn finished(self) -> Result<Bridges> {
        let tensors = self.tensors();
        let (weights, bridges) = tensors.split_at(self.count);
        let [of_dense, of_sparse] = [self.dense, self.sparse].map(|model| model.name().to_string());
        let decoder = with_weights(&self.sparse.decoder, weights)?;
        let sparse = Model::new(decoder, self.sparse.tokenizer.clone(), format!("{of_sparse}, bridged to {of_dense}"));
        let about = |site: &Site| About {
            kind: "bridge".into(),
            models: vec![of_dense.clone().into()],
            sites: vec![ReadSite::new(site.to_string())],
            more: self.record(),
            ..About::default()
        };
        let each = self.sites.iter().zip(bridges.chunks(TENSORS.len()));
        let bridges =
            each.map(|(site, tensors)| dictionary(tensors, self.active, about(site))).collect::<Result<_>>()?;
        Ok(Bridges { losses: self.losses.clone(), ..Bridges::new(self.dense, &sparse, bridges)? })
    }

    /// Returns what the metadata of bridges says of their fit.
    fn record(&self) -> Map<String, Value> {
        let last = |of: fn(&StepLosses) -> f64| means(&self.losses, INTERVALS, of).last().copied();
        let record = json!({
            "options": self.options.json(),
            "steps": self.losses.len(),
            "own": last(|step| step.own),
            "error": last(|step| step.error),
        });
        Map::from_iter([("bridge".into(), record)])
    }
}

/// Draws the tensors of a bridge: maps uniform within 1 / sqrt of the width that they read, and biases of 0.
fn begun(d_dense: usize, d_sparse: usize, device: &Device, random: &mut ChaCha8Rng) -> Result<[Tensor; 4]> {
    let mut drawn = |read: usize| -> Result<Tensor> {
        let bound = 1.0 / (read as f32).sqrt();
        let numbers: Vec<f32> = (0..d_sparse * d_dense).map(|_| random.random_range(-bound..bound)).collect();
        Ok(Tensor::from_vec(numbers, (d_sparse, d_dense), &Device::Cpu)?.to_device(device)?)
    };
    let zeros = |size: usize| Tensor::zeros(size, DType::F32, device);
    Ok([drawn(d_dense)?, zeros(d_sparse)?, drawn(d_sparse)?, zeros(d_dense)?])
}

/// Refuses a fit that takes more memory than there is: weights with gradients and moments, and the logits of a pass.
fn check_memory(dense: &Model, sparse: &Model, options: &BridgeOptions) -> Result<()> {
    let config = sparse.decoder.config();
    let shapes = config.parameters()?;
    let weights: u128 = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>() as u128).sum();
    let of_bridge = 2 * (config.d_model * dense.decoder.config().d_model) as u128;
    let sites = 2 * config.layers as u128 + 1;
    let bytes = (weights + sites * of_bridge).saturating_mul(16);
    memory::check_on(sparse.decoder.device(), bytes, || "a fit of bridges".into())?;
    let tokens = options.batch as u128 * harvest::context_or(config, options.context, CONTEXT)? as u128;
    let bytes = tokens.saturating_mul(24 * config.outputs() as u128);
    memory::check(bytes, || "a step of bridges".into()).map_err(|e| e.about("batch"))
}

/// Reads the rows of a text that have the full length; refuses a text that the two models read differently.
fn rows(dense: &Model, sparse: &Model, text: &Text, options: &BridgeOptions, task: &Task) -> Result<Vec<Vec<u32>>> {
    let read = |model: &Model| whole_rows(model, text, options.rows, options.context, task);
    let of_dense = read(dense)?;
    if of_dense != read(sparse)? {
        return Err(sites::read_differently());
    }
    Ok(of_dense)
}

impl Trainer for Fitting<'_> {
    fn label(&self) -> String {
        "fitting bridges".into()
    }

    fn steps(&self) -> u64 {
        self.options.steps
    }

    fn made(&self) -> u64 {
        self.losses.len() as u64
    }

    fn advance(&mut self, task: &Task) -> Result<()> {
        let made = self.made();
        let lesson = self.lesson(made, task)?;
        let step = BridgeStep {
            dense: &self.dense.decoder,
            sparse: &self.sparse.decoder,
            sites: &self.sites,
            active: self.active,
            loss: &self.options.loss,
        };
        let (losses, gradients) = step.losses(&self.tensors(), &lesson, task)?;
        let norm = kernels::global_norm(&gradients)?;
        if !norm.is_finite() || !losses.own.is_finite() {
            return Err(err!(
                Numeric,
                "the loss is {} at step {}, with a gradient of norm {norm}",
                losses.own,
                made + 1
            )
            .hint("try a lower `lr`; NaN or infinity in the models' activations has the same effect"));
        }
        let settings = self.optimizer.update(made, norm);
        let share = self.options.sparse.share(made, self.options.steps);
        for (number, (parameter, gradient)) in self.parameters.iter().zip(&gradients).enumerate() {
            if number >= self.count {
                parameter.step(gradient, settings)?;
                continue;
            }
            // Norms and biases have no weight decay.
            let decay = if parameter.weight.rank() >= 2 { self.options.weight_decay } else { 0.0 };
            parameter.step(gradient, AdamW { decay, ..settings })?;
            self.options.sparse.enforce(parameter, share)?;
        }
        self.losses.push(losses);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        self.losses.last().map_or_else(String::new, |step| {
            format!(
                "loss {:.3}, error {:.3}, KL to sparse {:.3}, to dense {:.3}, {speed:.1} steps/s",
                step.own, step.error, step.to_sparse, step.to_dense
            )
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
        "the bridges and the sparse model as they are".into()
    }
}
