//! The options of a fit, as scripts give them, and the recipe that they make.

use std::path::PathBuf;

use rand::Rng;
use serde_json::{Map, Value};

use super::rows::Held;
use crate::base::{Result, names};
use crate::model::train::{Schedule, Shape as Fall};
use crate::sae::fit::{Counting, Dead, Keep, Recipe, Shape, kinds};
use crate::script::env::Env;
use crate::script::options::OptionReader;
use crate::script::value::{Given, json};

/// The options of a fit, without its data.
pub(super) struct Asked {
    kind: String,
    of_kind: Map<String, Value>,
    d_sae: Option<usize>,
    ratio: f64,
    steps: Option<usize>,
    passes: f64,
    batch: usize,
    lr: Option<f64>,
    fall: Option<Fall>,
    warmup: Option<usize>,
    decay: Option<usize>,
    betas: Option<[f64; 2]>,
    eps: f64,
    /// The maximum gradient norm, where one is given.
    clip: Option<Option<f64>>,
    sparsity_warmup: usize,
    counting: Option<Counting>,
    unit: Option<bool>,
    dead: Help,
    resample_at: Option<Vec<usize>>,
    k_aux: Option<usize>,
    aux: Option<f64>,
    dead_after: Option<usize>,
    scaled: bool,
    seed: u64,
    pub(super) dir: Option<String>,
    every: usize,
    pub(super) fresh: bool,
    pub(super) buffer: Option<usize>,
}

/// What happens to dead features, by the names that scripts use.
#[derive(Clone, Copy, PartialEq)]
enum Help {
    AuxK,
    Resample,
    Leave,
}

const HELPS: [(&str, Help); 3] = [("auxk", Help::AuxK), ("resample", Help::Resample), ("leave", Help::Leave)];

const COUNTINGS: [(&str, Counting); 3] =
    [("mean", Counting::Mean), ("sum", Counting::Sum), ("normalised", Counting::Normalised)];

fn one_of<T: Copy>(given: &Given, all: &[(&'static str, T)]) -> Result<T> {
    let name = given.text()?;
    let known = || all.iter().map(|(known, _)| *known);
    let found = all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let wanted = format!("one of {}", known().collect::<Vec<_>>().join(", "));
        given.refuse(&wanted).maybe_hint(names::suggestion(&name, known()))
    })
}

pub(super) fn asked(read: &mut OptionReader, env: &Env) -> Result<Asked> {
    let kind = read.text("kind", "topk")?;
    let mut of_kind = Map::new();
    for name in kinds::options_of(&kind).map_err(|e| e.arg(1))? {
        if let Some(value) = read.value(name) {
            of_kind.insert((*name).into(), whole(json(&value, &env.task)?));
        }
    }
    Ok(Asked {
        kind,
        of_kind,
        d_sae: read.get("d_sae", Given::size)?,
        ratio: read.number("ratio", 8.0)?,
        steps: read.get("steps", Given::size)?,
        passes: read.number("passes", 4.0)?,
        batch: read.size("batch", 2048)?,
        lr: read.get("lr", Given::number)?,
        fall: read.get("schedule", |given| one_of(given, &Fall::ALL))?,
        warmup: read.get("warmup", Given::size)?,
        decay: read.get("decay", Given::size)?,
        betas: read.get("betas", Given::range)?,
        eps: read.number("eps", 1e-8)?,
        clip: match read.value("clip") {
            Some(none) if none.is_unit() => Some(None),
            Some(_) => Some(read.get("clip", Given::number)?),
            None => None,
        },
        sparsity_warmup: read.size("sparsity_warmup", 0)?,
        counting: read.get("loss", |given| one_of(given, &COUNTINGS))?,
        unit: read.get("unit", Given::flag)?,
        dead: read.get("dead", |given| one_of(given, &HELPS))?.unwrap_or(Help::AuxK),
        resample_at: read.get("resample_at", Given::sizes)?,
        k_aux: read.get("k_aux", Given::size)?,
        aux: read.get("aux", Given::number)?,
        dead_after: read.get("dead_after", Given::size)?,
        scaled: read.flag("scaled", true)?,
        seed: read.seed()?.unwrap_or_else(|| env.random.generator(None).next_u64() >> 1),
        dir: read.get("dir", Given::text)?,
        every: read.size("every", 1000)?,
        fresh: read.flag("fresh", false)?,
        buffer: read.get("buffer", Given::size)?,
    })
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
        let kind = kinds::kind(&self.kind, self.of_kind.clone()).map_err(|e| e.arg(1))?;
        let d_sae = self.d_sae.unwrap_or((self.ratio * width as f64).round() as usize);
        let batch = self.batch.min(rows);
        let steps = self.steps.unwrap_or((self.passes * rows as f64 / batch as f64).ceil() as usize) as u64;
        let shape = Shape { d_in: width, d_sae, d_out: width };
        let usual = Recipe::usual(kind, self.counting, shape, rows, steps, batch, self.seed);
        let schedule = Schedule {
            shape: self.fall.unwrap_or(usual.schedule.shape),
            warmup: self.warmup.map_or(usual.schedule.warmup, |steps| steps as u64),
            decay: self.decay.map_or(usual.schedule.decay, |steps| steps as u64),
            ..usual.schedule
        };
        let mut dead_after = usual.dead_after;
        let dead = match (self.dead, &usual.dead) {
            // Bricken et al. 2023 do so four times at equal distances, for features silent over half of one.
            (Help::Resample, _) => {
                let distance = (steps / 8).max(1);
                dead_after = (distance * batch as u64 / 2).max(1);
                let after = self.resample_at.as_ref().map(|steps| steps.iter().map(|step| *step as u64).collect());
                Dead::Resample { after: after.unwrap_or_else(|| (1..=4).map(|turn| turn * distance).collect()) }
            }
            (Help::AuxK, Dead::AuxK { k, weight }) => {
                let k = self.k_aux.map_or(*k, |k| k.clamp(1, d_sae.max(1)));
                Dead::AuxK { k, weight: self.aux.unwrap_or(*weight) }
            }
            (Help::AuxK | Help::Leave, _) => Dead::Leave,
        };
        let recipe = Recipe {
            lr: self.lr.unwrap_or(usual.lr),
            schedule,
            betas: self.betas.unwrap_or(usual.betas),
            eps: self.eps,
            clip: self.clip.unwrap_or(usual.clip),
            sparsity_warmup: self.sparsity_warmup as u64,
            unit: self.unit.unwrap_or(usual.unit),
            dead,
            dead_after: self.dead_after.map_or(dead_after, |rows| rows as u64),
            scaled: self.scaled,
            ..usual
        };
        Ok((recipe, d_sae))
    }

    /// Where one of several fits saves its checkpoints, if it does.
    pub(super) fn keep<'a>(&self, name: &str, env: &'a Env) -> Option<Keep<'a>> {
        Some(self.keep_in(PathBuf::from(self.dir.as_ref()?).join(name), env))
    }

    pub(super) fn keep_in<'a>(&self, folder: PathBuf, env: &'a Env) -> Keep<'a> {
        Keep { files: &env.files, folder, every: self.every as u64, fresh: self.fresh }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn held(&self) -> Held {
        Held { seed: self.seed, rows: self.buffer }
    }
}
