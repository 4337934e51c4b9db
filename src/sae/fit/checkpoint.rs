//! The checkpoint of a fit: all that it needs to resume bit for bit, in one file that is written atomically.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::History;
use super::price::Price;
use super::recipe::Recipe;
use super::state::State;
use crate::base::files::Files;
use crate::base::{Error, Result, json};
use crate::err;
use crate::model::train::put_back;
use crate::tensor::files::{Named, safetensors};
use crate::tensor::{DType, Device, Tensor};

/// The file of a checkpoint in its folder.
pub const CHECKPOINT: &str = "fit.safetensors";
/// The kind of file, as its metadata has it.
const KIND: &str = "microtome fit, 1";

/// Where checkpoints are saved, and how often.
pub struct Keep<'a> {
    pub files: &'a Files,
    pub folder: PathBuf,
    pub every: u64,
    /// Whether to begin again although a checkpoint is there.
    pub fresh: bool,
}

/// The metadata beside the tensors.
#[derive(Serialize, Deserialize)]
struct Said {
    step: u64,
    threshold: Option<f64>,
    price: Price,
    rows_per_step: u64,
    recipe: Value,
    data: String,
}

impl Keep<'_> {
    fn path(&self) -> Result<PathBuf> {
        self.files.access().to_write(&self.folder.join(CHECKPOINT))
    }

    /// Whether there is a checkpoint to resume. The folder is locked by this run from now on: another fit there is
    /// refused before either has made a step.
    pub fn is_begun(&self) -> Result<bool> {
        let path = self.path()?;
        self.files.lock(path.parent().unwrap_or(Path::new("/")))?;
        Ok(!self.fresh && self.files.has(&path)?)
    }

    pub fn save(&self, state: &State, history: &History, recipe: &Recipe, data: &str) -> Result<()> {
        let said = Said {
            step: state.step,
            threshold: state.threshold,
            price: state.price,
            rows_per_step: history.rows_per_step,
            recipe: recipe.json(),
            data: data.into(),
        };
        let said = serde_json::to_string(&said).map_err(|e| err!(Bug, "a checkpoint that cannot be written: {e}"))?;
        let metadata = BTreeMap::from([("kind".into(), KIND.into()), ("fit".into(), said)]);
        let named = Named { tensors: tensors(state, history)?, metadata };
        self.files.save(&self.path()?, |file| safetensors::write(&named, file))?;
        Ok(())
    }

    /// Restores state and history from the checkpoint.
    pub fn load(&self, state: &mut State, history: &mut History, recipe: &Recipe, data: &str) -> Result<()> {
        let shown = self.folder.join(CHECKPOINT);
        self.read(state, history, recipe, data).map_err(|e: Error| e.within(shown.display()))
    }

    fn read(&self, state: &mut State, history: &mut History, recipe: &Recipe, data: &str) -> Result<()> {
        let file = safetensors::Reader::new(self.files.map(&self.path()?)?)?;
        let metadata = file.metadata();
        if metadata.get("kind").is_none_or(|kind| kind != KIND) {
            return Err(err!(Format, "expected a checkpoint of a fit (`{KIND}`), found another file"));
        }
        let said = metadata.get("fit").ok_or_else(|| err!(Format, "expected `fit` in the metadata, found none"))?;
        let said: Said = json::read(said.as_bytes(), |e| err!(Format, "its metadata: {e}"))?;
        let kept = said.recipe.as_object().cloned().unwrap_or_default();
        for (key, given) in recipe.json().as_object().into_iter().flatten() {
            same(key, kept.get(key).unwrap_or(&Value::Null), given)?;
        }
        same("data", &said.data.into(), &data.into())?;
        for parameter in &state.params.all {
            let name = parameter.name.text();
            put_back(&parameter.weight, file.tensor(&format!("weight.{name}"))?)?;
            put_back(&parameter.moments[0], file.tensor(&format!("first.{name}"))?)?;
            put_back(&parameter.moments[1], file.tensor(&format!("second.{name}"))?)?;
        }
        let silent = file.tensor("silent")?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        let kept = History::from_tensor(&file.tensor("history")?, said.rows_per_step)?;
        if silent.len() != state.silent.len() || kept.steps.len() as u64 != said.step {
            return Err(err!(Format, "expected the history of {} steps, found {}", said.step, kept.steps.len()));
        }
        state.memory = file.tensor("memory")?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        state.silent = silent.into_iter().map(i64::cast_unsigned).collect();
        (state.step, state.threshold, state.price, *history) = (said.step, said.threshold, said.price, kept);
        Ok(())
    }
}

/// Refuses to resume another fit.
fn same(what: &str, kept: &Value, given: &Value) -> Result<()> {
    if kept == given {
        return Ok(());
    }
    Err(err!(Argument, "the checkpoint there has {what} {kept}, and this fit {given}")
        .hint("give the same to resume, another `dir`, or `fresh: true` to begin again"))
}

fn tensors(state: &State, history: &History) -> Result<BTreeMap<String, Tensor>> {
    let mut all = BTreeMap::new();
    for parameter in &state.params.all {
        let [first, second] = &parameter.moments;
        for (part, variable) in [("weight", &parameter.weight), ("first", first), ("second", second)] {
            all.insert(format!("{part}.{}", parameter.name.text()), variable.as_detached_tensor());
        }
    }
    let silent: Vec<i64> = state.silent.iter().map(|rows| rows.cast_signed()).collect();
    all.insert("silent".into(), Tensor::new(silent, &Device::Cpu)?);
    all.insert("memory".into(), Tensor::new(state.memory.clone(), &Device::Cpu)?);
    all.insert("history".into(), history.to_tensor()?);
    Ok(all)
}
