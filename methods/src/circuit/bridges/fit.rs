//! The fit of bridges together with the weights of the sparse model: steps of Adam on a text.

use kernels::AdamW;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::Map;
use sha2::{Digest, Sha256};

use super::loss::{BridgeStep, Lesson, StepLosses, with_weights};
use super::options::BridgeOptions;
use super::{Bridges, TENSORS, dictionary, sites};
use crate::base::files::hex;
use crate::common::*;
use crate::data::{Text, harvest};
use crate::model::fingerprint::fingerprint;
use crate::sae::text_rows::{CONTEXT, StepOrder, whole_rows};
use crate::sae::{About, ReadSite};
use crate::training::{
    self, CheckpointFolder, CheckpointFormat, INTERVALS, Parameter, ParameterFit, ParameterTraining, means,
};

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
    let fit = BridgeFit { dense, sparse, sites, active, options, rows, count };
    let mut training = ParameterTraining::begin(fit, parameters, optimizer, folder, task)?;
    training::run(&mut training, task)?;
    let tensors = training.tensors();
    training.fit.finished(&tensors, training.losses)
}

/// A fit of bridges between two models.
struct BridgeFit<'a> {
    dense: &'a Model,
    sparse: &'a Model,
    sites: Vec<Site>,
    active: usize,
    options: &'a BridgeOptions,
    rows: Vec<Vec<u32>>,
    /// Number of the weights of the sparse model, behind which the parameters are the tensors of each bridge.
    count: usize,
}

impl BridgeFit<'_> {
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

    /// Makes the models and dictionaries of the parameters.
    fn finished(&self, parameters: &[Tensor], losses: Vec<StepLosses>) -> Result<Bridges> {
        let (weights, bridges) = parameters.split_at(self.count);
        let [of_dense, of_sparse] = [self.dense, self.sparse].map(|model| model.name().to_string());
        let decoder = with_weights(&self.sparse.decoder, weights)?;
        let sparse = Model::new(decoder, self.sparse.tokenizer.clone(), format!("{of_sparse}, bridged to {of_dense}"));
        let about = |site: &Site| About {
            kind: "bridge".into(),
            models: vec![of_dense.clone().into()],
            sites: vec![ReadSite::new(site.to_string())],
            more: record(self.options, &losses),
            ..About::default()
        };
        let each = self.sites.iter().zip(bridges.chunks(TENSORS.len()));
        let bridges =
            each.map(|(site, tensors)| dictionary(tensors, self.active, about(site))).collect::<Result<_>>()?;
        let found = Bridges::new(self.dense, &sparse, bridges)?;
        Ok(Bridges { losses, ..found })
    }
}

/// Returns what the metadata of bridges says of their fit.
fn record(options: &BridgeOptions, losses: &[StepLosses]) -> Map<String, Value> {
    let last = |of: fn(&StepLosses) -> f64| means(losses, INTERVALS, of).last().copied();
    let record = json!({
        "options": options.json(),
        "steps": losses.len(),
        "own": last(|step| step.own),
        "error": last(|step| step.error),
    });
    Map::from_iter([("bridge".into(), record)])
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

impl ParameterFit<4> for BridgeFit<'_> {
    type Losses = StepLosses;

    const LABEL: &'static str = "fitting bridges";
    const LEFT: &'static str = "the bridges and the sparse model as they are";
    const FORMAT: &'static CheckpointFormat =
        &CheckpointFormat { file: "bridges.safetensors", kind: "microtome fit of bridges, 1", of: "a fit of bridges" };

    fn options(&self) -> Value {
        self.options.json()
    }

    fn identity(&self, task: &Task) -> Result<Value> {
        Ok(json!({
            "dense": hex(&fingerprint(&self.dense.decoder, task)?),
            "sparse": hex(&fingerprint(&self.sparse.decoder, task)?),
            "text": hex(&Sha256::digest(json!(self.rows).to_string())),
            "options": self.options.json(),
        }))
    }

    fn losses(&self, parameters: &[Tensor], step: u64, task: &Task) -> Result<(StepLosses, Vec<Tensor>)> {
        let bridge_step = BridgeStep {
            dense: &self.dense.decoder,
            sparse: &self.sparse.decoder,
            sites: &self.sites,
            active: self.active,
            loss: &self.options.loss,
        };
        bridge_step.losses(parameters, &self.lesson(step, task)?, task)
    }

    fn main_loss(losses: &StepLosses) -> f64 {
        losses.own
    }

    fn shown(losses: &StepLosses) -> String {
        let StepLosses { own, error, to_sparse, to_dense } = losses;
        format!("loss {own:.3}, error {error:.3}, KL to sparse {to_sparse:.3}, to dense {to_dense:.3}")
    }

    fn update(
        &self,
        number: usize,
        parameter: &Parameter<String>,
        gradient: &Tensor,
        settings: AdamW,
        step: u64,
    ) -> Result<()> {
        if number >= self.count {
            return parameter.step(gradient, settings);
        }
        // Norms and biases have no weight decay.
        let decay = if parameter.weight.rank() >= 2 { self.options.weight_decay } else { 0.0 };
        parameter.step(gradient, AdamW { decay, ..settings })?;
        let sparse = &self.options.sparse;
        sparse.enforce(parameter, sparse.share(step, self.options.steps))
    }
}
