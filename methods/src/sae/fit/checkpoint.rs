//! The checkpoint of a fit: weights, moments, the activity of features, and the history; of a cross-layer transcoder
//! that of each layer, side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::coefficient::Price;
use super::history::{self, FitHistory};
use super::plan::{EncoderProducts, Recipe};
use super::state::FitState;
use crate::base::json;
use crate::common::*;
use crate::tensor::files::NamedTensors;
use crate::training::{CheckpointFormat, CheckpointReader, with_way_out};

pub const FORMAT: CheckpointFormat =
    CheckpointFormat { file: "fit.safetensors", kind: "microtome fit, 1", of: "a fit" };

/// Checkpoint of a cross-layer transcoder: the number of the layer comes before all names.
pub const OF_LAYERS: CheckpointFormat = CheckpointFormat {
    file: "cross_layer.safetensors",
    kind: "microtome cross-layer fit, 1",
    of: "a fit of a cross-layer transcoder",
};

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

/// Fit that a checkpoint belongs to: no other one resumes it.
#[derive(Clone, Copy)]
pub struct CheckpointOwner<'a> {
    pub recipe: &'a Recipe,
    /// The description of the data.
    pub data: &'a str,
    pub is_of_layers: bool,
}

impl CheckpointOwner<'_> {
    pub fn format(self) -> &'static CheckpointFormat {
        if self.is_of_layers { &OF_LAYERS } else { &FORMAT }
    }

    /// Returns what comes before the names of a layer.
    fn before(self, layer: usize) -> String {
        if self.is_of_layers { format!("{layer}.") } else { String::new() }
    }

    /// Returns the content of a checkpoint.
    pub fn saved(self, states: &[FitState], history: &FitHistory) -> Result<NamedTensors> {
        let mut all = NamedTensors { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
        for (layer, state) in states.iter().enumerate() {
            let before = self.before(layer);
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
                recipe: self.recipe.json(),
                data: self.data.into(),
            };
            let metadata =
                serde_json::to_string(&metadata).map_err(|e| err!(Bug, "a checkpoint that cannot be written: {e}"))?;
            all.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{before}{name}"), tensor)));
            all.metadata.insert(format!("{before}fit"), metadata);
        }
        Ok(all)
    }

    /// Restores states and history from a checkpoint of the same fit; returns its step.
    pub fn restore(self, states: &mut [FitState], history: &mut FitHistory, file: &CheckpointReader) -> Result<u64> {
        let mut step = 0;
        for (layer, state) in states.iter_mut().enumerate() {
            step = self.restore_layer(state, history, file, &self.before(layer))?;
        }
        Ok(step)
    }

    fn restore_layer(
        self,
        state: &mut FitState,
        history: &mut FitHistory,
        file: &CheckpointReader,
        before: &str,
    ) -> Result<u64> {
        let named = |name: &str| format!("{before}{name}");
        let text = file.metadata().get(&named("fit"));
        let text = text.ok_or_else(|| err!(Format, "expected `{}` in the metadata, found none", named("fit")))?;
        let found: Metadata = json::read(text.as_bytes(), |e| err!(Format, "its metadata: {e}"))?;
        let kept = stated(&found.recipe);
        for (key, given) in &stated(&self.recipe.json()) {
            same(key, kept.get(key).unwrap_or(&Value::Null), given)?;
        }
        same("data", &found.data.into(), &self.data.into())?;
        state.params.all.iter().try_for_each(|parameter| parameter.restore(file, before))?;
        let silent = file.tensor(&named("silent"))?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        let kept = history::from_tensor(&file.tensor(&named("history"))?, found.rows_per_step)?;
        if silent.len() != state.silent.len() || kept.steps.len() as u64 != found.step {
            return Err(err!(Format, "expected the history of {} steps, found {}", found.step, kept.steps.len()));
        }
        state.memory = file.tensor(&named("memory"))?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        state.silent = silent.into_iter().map(i64::cast_unsigned).collect();
        state.step = found.step;
        state.threshold = found.threshold;
        state.price = found.price;
        *history = kept;
        Ok(found.step)
    }
}

/// Returns the settings of a recipe, with the precision of products that it leaves out where that is f32.
fn stated(recipe: &Value) -> Map<String, Value> {
    let mut settings = recipe.as_object().cloned().unwrap_or_default();
    settings.entry("compute").or_insert_with(|| EncoderProducts::F32.word().into());
    settings
}

/// Refuses to resume another fit.
fn same(what: &str, kept: &Value, given: &Value) -> Result<()> {
    if kept == given {
        return Ok(());
    }
    let error = err!(Argument, "the checkpoint there has {what} {kept}, and this fit {given}");
    Err(with_way_out(error, "the same"))
}
