//! The checkpoint of a fit: weights, moments, the activity of features, and the history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{self, FitHistory};
use super::price::Price;
use super::recipe::Recipe;
use super::state::State;
use crate::base::{Result, json};
use crate::err;
use crate::tensor::files::Named;
use crate::tensor::{DType, Device, Tensor};
use crate::training::{CheckpointFormat, CheckpointReader, with_way_out};

pub const FORMAT: CheckpointFormat =
    CheckpointFormat { file: "fit.safetensors", kind: "microtome fit, 1", of: "a fit" };

/// The metadata beside the tensors.
#[derive(Serialize, Deserialize)]
struct Metadata {
    step: u64,
    threshold: Option<f64>,
    price: Price,
    rows_per_step: u64,
    recipe: Value,
    data: String,
}

/// The content of a checkpoint.
pub fn saved(state: &State, history: &FitHistory, recipe: &Recipe, data: &str) -> Result<Named> {
    let mut tensors = BTreeMap::new();
    state.params.all.iter().for_each(|parameter| parameter.save(&mut tensors));
    let silent: Vec<i64> = state.silent.iter().map(|rows| rows.cast_signed()).collect();
    tensors.insert("silent".into(), Tensor::new(silent, &Device::Cpu)?);
    tensors.insert("memory".into(), Tensor::new(state.memory.clone(), &Device::Cpu)?);
    tensors.insert("history".into(), history::to_tensor(history)?);
    let metadata = Metadata {
        step: state.step,
        threshold: state.threshold,
        price: state.price,
        rows_per_step: history.read_per_step,
        recipe: recipe.json(),
        data: data.into(),
    };
    let metadata =
        serde_json::to_string(&metadata).map_err(|e| err!(Bug, "a checkpoint that cannot be written: {e}"))?;
    Ok(Named { tensors, metadata: BTreeMap::from([("fit".into(), metadata)]) })
}

/// Restores state and history from a checkpoint of the same fit, in which all names begin as `before` says; returns its
/// step.
pub fn restore(
    state: &mut State,
    history: &mut FitHistory,
    (recipe, data): (&Recipe, &str),
    (file, before): (&CheckpointReader, &str),
) -> Result<u64> {
    let named = |name: &str| format!("{before}{name}");
    let text = file.metadata().get(&named("fit"));
    let text = text.ok_or_else(|| err!(Format, "expected `{}` in the metadata, found none", named("fit")))?;
    let found: Metadata = json::read(text.as_bytes(), |e| err!(Format, "its metadata: {e}"))?;
    let kept = found.recipe.as_object().cloned().unwrap_or_default();
    for (key, given) in recipe.json().as_object().into_iter().flatten() {
        same(key, kept.get(key).unwrap_or(&Value::Null), given)?;
    }
    same("data", &found.data.into(), &data.into())?;
    state.params.all.iter().try_for_each(|parameter| parameter.restore(file, before))?;
    let silent = file.tensor(&named("silent"))?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let kept = history::from_tensor(&file.tensor(&named("history"))?, found.rows_per_step)?;
    if silent.len() != state.silent.len() || kept.steps.len() as u64 != found.step {
        return Err(err!(Format, "expected the history of {} steps, found {}", found.step, kept.steps.len()));
    }
    state.memory = file.tensor(&named("memory"))?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    state.silent = silent.into_iter().map(i64::cast_unsigned).collect();
    (state.step, state.threshold, state.price, *history) = (found.step, found.threshold, found.price, kept);
    Ok(found.step)
}

/// Refuses to resume another fit.
fn same(what: &str, kept: &Value, given: &Value) -> Result<()> {
    if kept == given {
        return Ok(());
    }
    let error = err!(Argument, "the checkpoint there has {what} {kept}, and this fit {given}");
    Err(with_way_out(error, "the same"))
}
