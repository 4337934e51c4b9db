//! The checkpoint of a model's training: weights, moments, the history, and what identifies the training.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::history::{ModelHistory, ModelStep};
use super::recipe::Recipe;
use super::state::TrainingState;
use crate::base::{self, Result};
use crate::err;
use crate::model::config::Config;
use crate::tensor::files::NamedTensors;
use crate::tensor::{DType, Device, Tensor};
use crate::training::{CheckpointFormat, CheckpointReader, with_way_out};

pub const FORMAT: CheckpointFormat =
    CheckpointFormat { file: "training.safetensors", kind: "microtome training, 1", of: "a training" };

/// The identity of a training: config, recipe and data.
pub struct Identity<'a> {
    pub config: &'a Config,
    pub recipe: &'a Recipe,
    pub data: String,
    /// The hash of the model that an adapter is trained for; its own weights are no part of the checkpoint.
    pub base: Option<&'a str>,
}

/// Builds the content of a checkpoint.
pub fn saved(state: &TrainingState, identity: &Identity) -> Result<NamedTensors> {
    let mut tensors = BTreeMap::new();
    state.parameters.iter().for_each(|parameter| parameter.save(&mut tensors));
    let steps = &state.history.steps;
    let held_out = &state.history.held_out;
    let numbers: [(&str, Vec<f64>); 5] = [
        ("losses", steps.iter().map(|step| step.loss).collect()),
        ("norms", steps.iter().map(|step| step.norm).collect()),
        ("rates", steps.iter().map(|step| step.rate).collect()),
        ("judged_at", held_out.iter().map(|(step, _)| *step as f64).collect()),
        ("judged", held_out.iter().map(|(_, loss)| *loss).collect()),
    ];
    for (name, numbers) in numbers {
        let count = numbers.len();
        tensors.insert(format!("history.{name}"), Tensor::from_vec(numbers, count, &Device::Cpu)?);
    }
    let json =
        |value: serde_json::Result<String>| value.map_err(|e| err!(Bug, "a checkpoint that cannot be written: {e}"));
    let base = identity.base.map(|base| ("base".to_string(), base.to_string()));
    let metadata = BTreeMap::from([
        ("step".into(), state.step.to_string()),
        ("tokens_per_step".into(), state.history.read_per_step.to_string()),
        ("config".into(), json(serde_json::to_string(identity.config))?),
        ("recipe".into(), json(serde_json::to_string(identity.recipe))?),
        ("data".into(), json(serde_json::to_string(&identity.data))?),
    ]);
    Ok(NamedTensors { tensors, metadata: metadata.into_iter().chain(base).collect() })
}

/// Restores `state` from a checkpoint of the same training; returns its step.
pub fn restore(state: &mut TrainingState, identity: &Identity, file: &CheckpointReader) -> Result<u64> {
    let metadata = file.metadata();
    let config: Config = parsed(metadata, "config")?;
    if config != *identity.config {
        return Err(with_way_out(err!(Argument, "the checkpoint there has another config"), "the same one"));
    }
    let data: String = parsed(metadata, "data")?;
    let given = &identity.data;
    if data != *given {
        let error = err!(Argument, "the checkpoint there is of a training on {data}, and this one is on {given}");
        return Err(with_way_out(error, "the same data"));
    }
    if let (Some(base), Some(given)) = (metadata.get("base"), identity.base)
        && base != given
    {
        let error = err!(Argument, "the checkpoint there is of an adapter of another model");
        return Err(with_way_out(error, "the same model"));
    }
    let step: u64 = parsed(metadata, "step")?;
    let tokens: u64 = parsed(metadata, "tokens_per_step")?;
    let numbers = |name: &str| -> Result<Vec<f64>> {
        Ok(file.tensor(&format!("history.{name}"))?.to_dtype(DType::F64)?.to_vec1()?)
    };
    let losses = numbers("losses")?;
    let norms = numbers("norms")?;
    let rates = numbers("rates")?;
    if [&losses, &norms, &rates].iter().any(|numbers| numbers.len() as u64 != step) {
        return Err(err!(Format, "expected the losses of {step} steps, found {}", losses.len()));
    }
    // Only now, since it looks at every step that the file claims.
    identity.recipe.continues(&parsed(metadata, "recipe")?, step)?;
    state.parameters.iter().try_for_each(|parameter| parameter.restore(file, ""))?;
    let steps = losses.into_iter().zip(norms).zip(rates).map(|((loss, norm), rate)| ModelStep { loss, norm, rate });
    let evaluated = numbers("judged_at")?.into_iter().map(|step| step as u64);
    state.history = ModelHistory {
        steps: steps.collect(),
        held_out: evaluated.zip(numbers("judged")?).collect(),
        read_per_step: tokens,
    };
    state.step = step;
    Ok(step)
}

fn parsed<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, key: &str) -> Result<T> {
    let text = metadata.get(key).ok_or_else(|| err!(Format, "expected `{key}` in the file's metadata, found none"))?;
    base::json::read(text.as_bytes(), |e| err!(Format, "the file's `{key}` is not valid: {e}"))
}
