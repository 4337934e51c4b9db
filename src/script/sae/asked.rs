//! What a script asks of a fit: the options that the core declares, those of the kind, and where the fit is kept.

use std::path::PathBuf;

use rand::Rng;
use serde_json::{Map, Value};

use super::rows::Held;
use crate::base::Result;
use crate::sae::fit::{FitOptions, Recipe, kinds};
use crate::script::env::Env;
use crate::script::options::OptionReader;
use crate::script::value::{Given, json};
use crate::training::{CheckpointFolder, CheckpointOptions};

/// The options of a fit, without its data.
pub(super) struct Asked {
    fit: FitOptions,
    of_kind: Map<String, Value>,
    seed: u64,
    pub(super) keep: CheckpointOptions,
    pub(super) buffer: Option<usize>,
}

pub(super) fn asked(read: &mut OptionReader, env: &Env) -> Result<Asked> {
    let fit: FitOptions = read.declared()?;
    let mut of_kind = Map::new();
    for field in kinds::options_of(fit.kind.0)? {
        if let Some(value) = read.value(field.name) {
            of_kind.insert(field.name.into(), whole(json(&value, &env.task)?));
        }
    }
    for other in kinds::NAMES.into_iter().filter(|name| *name != fit.kind.0) {
        for field in kinds::options_of(other)? {
            read.of_other(field.name, format!("the kind \"{other}\""));
        }
    }
    let seed = fit.seed.map_or_else(|| env.random.generator(None).next_u64() >> 1, |seed| seed as u64);
    Ok(Asked { fit, of_kind, seed, keep: read.declared()?, buffer: read.get("buffer", Given::size)? })
}

/// A float without a fraction is a whole number, so that `k: 24.0` is `k: 24`.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(x) if x.fract() == 0.0 && x.abs() < 1e15 => Value::from(x as i64),
            _ => Value::Number(number),
        },
        Value::Array(values) => Value::Array(values.into_iter().map(whole).collect()),
        other => other,
    }
}

impl Asked {
    /// The recipe for this number of rows of this width, and the number of features.
    pub(super) fn recipe(&self, rows: usize, width: usize) -> Result<(Recipe, usize)> {
        let kind = kinds::kind(self.fit.kind.0, &self.of_kind)?;
        self.fit.recipe(kind, rows, width, self.seed)
    }

    /// Where one of several fits saves its checkpoints, if it does.
    pub(super) fn keep<'a>(&self, name: &str, env: &'a Env) -> Option<CheckpointFolder<'a>> {
        Some(self.keep_in(PathBuf::from(self.keep.dir.as_ref()?).join(name), env))
    }

    pub(super) fn keep_in<'a>(&self, folder: PathBuf, env: &'a Env) -> CheckpointFolder<'a> {
        CheckpointFolder { files: &env.files, folder, every: self.keep.every as u64, fresh: self.keep.fresh }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn held(&self) -> Held {
        Held { seed: self.seed, rows: self.buffer }
    }
}
