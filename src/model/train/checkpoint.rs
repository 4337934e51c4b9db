//! The checkpoint of a training: all that it needs to resume bit for bit, in one file that is written atomically.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Var;
use serde::de::DeserializeOwned;

use super::history::History;
use super::recipe::Recipe;
use super::state::State;
use crate::base::files::Files;
use crate::base::{self, Error, Result};
use crate::err;
use crate::model::config::Config;
use crate::tensor::files::{Named, safetensors};
use crate::tensor::{DType, Device, Tensor};

/// The file of a checkpoint in its folder.
pub const CHECKPOINT: &str = "training.safetensors";
/// The kind of file, as its metadata has it.
const KIND: &str = "microtome training, 1";

/// Where checkpoints are saved, and how often.
pub struct Keep<'a> {
    pub files: &'a Files,
    pub folder: PathBuf,
    pub every: u64,
    /// Whether to begin again although a checkpoint is there.
    pub fresh: bool,
}

/// What identifies the training.
pub struct Identity<'a> {
    pub config: &'a Config,
    pub recipe: &'a Recipe,
    pub data: String,
}

impl Keep<'_> {
    /// Where it is written; it is read from there, too, even if there is a folder of that name elsewhere.
    fn path(&self) -> Result<PathBuf> {
        self.files.access().to_write(&self.folder.join(CHECKPOINT))
    }

    pub fn save(&self, state: &State, identity: &Identity) -> Result<()> {
        let named = Named { tensors: tensors(state)?, metadata: metadata(state, identity)? };
        self.files.save(&self.path()?, |file| safetensors::write(&named, file))?;
        Ok(())
    }

    /// Whether there is a checkpoint to resume.
    pub fn is_begun(&self) -> Result<bool> {
        Ok(!self.fresh && self.files.has(&self.path()?)?)
    }

    /// Restores `state` from the checkpoint.
    pub fn load(&self, state: &mut State, identity: &Identity) -> Result<()> {
        let shown = self.folder.join(CHECKPOINT);
        self.read(state, identity).map_err(|e: Error| e.within(shown.display()))
    }

    fn read(&self, state: &mut State, identity: &Identity) -> Result<()> {
        let file = safetensors::Reader::new(self.files.map(&self.path()?)?)?;
        let said = file.metadata();
        if said.get("kind").is_none_or(|kind| kind != KIND) {
            return Err(err!(Format, "expected a checkpoint of a training (`{KIND}`), found another file"));
        }
        let config: Config = parsed(said, "config")?;
        if config != *identity.config {
            return Err(other("config"));
        }
        let data: String = parsed(said, "data")?;
        if data != identity.data {
            return Err(err!(
                Argument,
                "the checkpoint there is of a training on {data}, and this one is on {}",
                identity.data
            )
            .hint("give the same data to resume, another `dir`, or `fresh: true` to begin again"));
        }
        let (step, tokens): (u64, u64) = (parsed(said, "step")?, parsed(said, "tokens_per_step")?);
        identity.recipe.continues(&parsed(said, "recipe")?, step)?;
        for parameter in &state.parameters {
            let name = &parameter.name;
            put_back(&parameter.weight, file.tensor(&format!("weight.{name}"))?)?;
            put_back(&parameter.moments.first, file.tensor(&format!("first.{name}"))?)?;
            put_back(&parameter.moments.second, file.tensor(&format!("second.{name}"))?)?;
        }
        let numbers = |name: &str| -> Result<Vec<f64>> { Ok(file.tensor(name)?.to_dtype(DType::F64)?.to_vec1()?) };
        let judged = numbers("history.judged_at")?.into_iter().map(|step| step as u64);
        state.history = History {
            losses: numbers("history.losses")?,
            norms: numbers("history.norms")?,
            rates: numbers("history.rates")?,
            judged: judged.zip(numbers("history.judged")?).collect(),
            tokens_per_step: tokens,
        };
        if state.history.steps() != step {
            return Err(err!(Format, "expected the losses of {step} steps, found {}", state.history.steps()));
        }
        state.step = step;
        Ok(())
    }
}

fn other(what: &str) -> Error {
    err!(Argument, "the checkpoint there has another {what}")
        .hint("give the same one to resume, another `dir`, or `fresh: true` to begin again")
}

/// Restores a variable.
pub fn put_back(variable: &Var, kept: Tensor) -> Result<()> {
    if kept.dims() != variable.dims() || kept.dtype() != variable.dtype() {
        return Err(err!(
            Format,
            "expected {:?} {:?}, found {:?} {:?}",
            variable.dtype(),
            variable.dims(),
            kept.dtype(),
            kept.dims()
        ));
    }
    Ok(variable.set(&kept.to_device(variable.device())?)?)
}

fn tensors(state: &State) -> Result<BTreeMap<String, Tensor>> {
    let mut all = BTreeMap::new();
    for parameter in &state.parameters {
        let parts =
            [("weight", &parameter.weight), ("first", &parameter.moments.first), ("second", &parameter.moments.second)];
        for (part, variable) in parts {
            all.insert(format!("{part}.{}", parameter.name), variable.as_detached_tensor());
        }
    }
    let history = &state.history;
    let (at, judged): (Vec<f64>, Vec<f64>) = history.judged.iter().map(|(step, loss)| (*step as f64, *loss)).unzip();
    let numbers = [
        ("losses", &history.losses),
        ("norms", &history.norms),
        ("rates", &history.rates),
        ("judged_at", &at),
        ("judged", &judged),
    ];
    for (name, numbers) in numbers {
        all.insert(format!("history.{name}"), Tensor::from_slice(numbers, numbers.len(), &Device::Cpu)?);
    }
    Ok(all)
}

fn metadata(state: &State, identity: &Identity) -> Result<BTreeMap<String, String>> {
    let json =
        |value: serde_json::Result<String>| value.map_err(|e| err!(Bug, "a checkpoint that cannot be written: {e}"));
    Ok(BTreeMap::from([
        ("kind".into(), KIND.into()),
        ("step".into(), state.step.to_string()),
        ("tokens_per_step".into(), state.history.tokens_per_step.to_string()),
        ("config".into(), json(serde_json::to_string(identity.config))?),
        ("recipe".into(), json(serde_json::to_string(identity.recipe))?),
        ("data".into(), json(serde_json::to_string(&identity.data))?),
    ]))
}

fn parsed<T: DeserializeOwned>(said: &BTreeMap<String, String>, key: &str) -> Result<T> {
    let text = said.get(key).ok_or_else(|| err!(Format, "expected `{key}` in the file's metadata, found none"))?;
    base::json::read(text.as_bytes(), |e| err!(Format, "the file's `{key}` is not valid: {e}"))
}
