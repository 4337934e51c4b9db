//! The fit of transcoder adapters: steps of Adam on the texts of two models.

use rand::RngExt;
use serde_json::Map;
use sha2::{Digest, Sha256};

use super::branch::{Branch, TENSORS};
use super::hybrid::hybrid;
use super::loss::{Lesson, LossStep, StepLosses};
use super::options::AdapterOptions;
use crate::base::files::hex;
use crate::common::*;
use crate::data::{Text, harvest};
use crate::diff::ModelPair;
use crate::model::fingerprint::fingerprint;
use crate::sae::text_rows::{CONTEXT, StepOrder, whole_rows};
use crate::sae::{About, Activation, KindLabel, Parts, ReadSite, Sae, Scaling};
use crate::training::{
    self, CheckpointFolder, CheckpointFormat, INTERVALS, Parameter, ParameterFit, ParameterTraining, means,
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
    let fit = AdapterFit { pair, hybrid, options, rows };
    let mut training = ParameterTraining::begin(fit, parameters, optimizer, folder, task)?;
    training::run(&mut training, task)?;
    let branches = Branch::of(&training.tensors());
    let record = record(options, &training.losses);
    let model = training.fit.hybrid.name().to_string();
    let adapters = branches.iter().enumerate().map(|(layer, branch)| dictionary(branch, layer, &model, record.clone()));
    Ok(FittedAdapters { adapters: adapters.collect::<Result<_>>()?, losses: training.losses })
}

/// A fit of adapters to the change of a model.
struct AdapterFit<'a> {
    pair: ModelPair<'a>,
    hybrid: Model,
    options: &'a AdapterOptions,
    rows: Vec<Vec<u32>>,
}

impl AdapterFit<'_> {
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

impl ParameterFit<5> for AdapterFit<'_> {
    type Losses = StepLosses;

    const LABEL: &'static str = "fitting transcoder adapters";
    const LEFT: &'static str = "the adapters as they are";
    const FORMAT: &'static CheckpointFormat = &CheckpointFormat {
        file: "adapters.safetensors",
        kind: "microtome fit of transcoder adapters, 1",
        of: "a fit of transcoder adapters",
    };

    fn options(&self) -> Value {
        self.options.json()
    }

    fn identity(&self, task: &Task) -> Result<Value> {
        Ok(json!({
            "base": hex(&fingerprint(&self.pair.base.decoder, task)?),
            "tuned": hex(&fingerprint(&self.pair.tuned.decoder, task)?),
            "text": hex(&Sha256::digest(json!(self.rows).to_string())),
            "options": self.options.json(),
        }))
    }

    fn losses(&self, parameters: &[Tensor], step: u64, task: &Task) -> Result<(StepLosses, Vec<Tensor>)> {
        let lesson = Lesson::of(&self.pair.tuned.decoder, self.batch(step)?, task)?;
        let layers = self.pair.tuned.decoder.config().layers;
        let cut = stream(self.options.seed.draws(), "transcoder adapters' cuts", step).random_range(0..=layers);
        let loss = LossStep { pair: self.pair, hybrid: &self.hybrid.decoder, weights: &self.options.loss };
        loss.losses(parameters, &lesson, cut, task)
    }

    fn main_loss(losses: &StepLosses) -> f64 {
        losses.kl
    }

    fn shown(losses: &StepLosses) -> String {
        format!("KL {:.4}, streams {:.4}, L0 {:.1}", losses.kl, losses.streams, losses.l0)
    }
}
