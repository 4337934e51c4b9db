//! Fits by descent on the rows of a text: their options, checkpoints from which they resume bit for bit, and the cache
//! of those that have ended.

#[cfg(test)]
pub mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::dictionary::TextDictionary;
use super::{StepOrder, TextRows};
use crate::base::random::{OF_CALL, Seed};
use crate::common::*;
use crate::data::Text;
use crate::data::store::ModelMark;
use crate::sae::cached::{CallCache, FitKey};
use crate::sae::fit::FitStorage;
use crate::sae::metrics::EvaluationText;
use crate::tensor::files::NamedTensors;
use crate::training::descent::{Descent, DescentOptions, DescentRule};
use crate::training::{self, CheckpointFormat, Checkpoints, FitCheckpoints, ScheduleShape, Trainer, of_step};

/// The name of the losses among the tensors of a file.
const LOSSES: &str = "losses";

crate::options! {
    /// A descent on the rows of a text.
    pub struct TextDescentOptions {
        /// Rows of text in a step.
        batch: usize = 8 => at_least(1.0);
        /// Number of rows of the text, which are read again in each epoch.
        rows: usize = 512 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("the model's, at most 1,024").at_least(2.0);
        /// Peak learning rate.
        lr: f64 = 2e-3 => above(0.0);
        /// Steps of learning rate warm-up.
        warmup: u64 = 50;
        /// Maximum gradient norm, over all parameters together.
        clip: Option<f64> = Some(1.0) => usually("1.0").above(0.0);
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// A dictionary that was fitted on a text, with the share of the variance that it did not explain in each step.
#[derive(Debug, Clone)]
pub struct FittedOnText<T> {
    pub made: T,
    pub losses: Vec<f64>,
}

impl<T: TextDictionary> FittedOnText<T> {
    fn to_tensors(&self) -> Result<NamedTensors> {
        let mut named = self.made.to_tensors()?;
        named.tensors.insert(LOSSES.into(), in_tensor(&self.losses)?);
        Ok(named)
    }

    fn of_tensors(mut named: NamedTensors) -> Result<Self> {
        let losses = named.tensors.remove(LOSSES);
        let losses = losses.ok_or_else(|| err!(Format, "expected the tensor `{LOSSES}`, found none"))?;
        Ok(Self { made: T::of_tensors(&named)?, losses: floats(&losses)? })
    }
}

/// Writes the losses of steps as a tensor.
fn in_tensor(losses: &[f64]) -> Result<Tensor> {
    Ok(Tensor::from_vec(losses.to_vec(), losses.len(), &Device::Cpu)?)
}

/// The words of the fits of one kind of dictionary.
pub struct TextFitWords {
    /// The kind, as the list of the cache has it: "lorsa".
    pub kind: &'static str,
    /// The dictionary in words: "Lorsa".
    pub name: &'static str,
    /// Stream of the random order of rows.
    pub order: &'static str,
    pub checkpoint: CheckpointFormat,
}

/// The plan of a fit: the text that is read, and all that the fit is made by.
pub struct TextFitPlan<'a> {
    pub model: &'a Model,
    pub text: &'a Text,
    /// Site that the dictionary reads.
    pub site: String,
    /// Number of features, or of heads.
    pub features: usize,
    /// Tokens in a row.
    pub context: usize,
    pub steps: u64,
    pub descent: &'a TextDescentOptions,
    /// Options of the fit by their names, with the seed, as the fit is identified by them.
    pub options: Map<String, Value>,
}

/// A fit on the rows of a text, with its checkpoints or the cache.
pub struct TextFit<'a> {
    plan: TextFitPlan<'a>,
    words: &'static TextFitWords,
    pub rows: TextRows,
    checkpoints: Option<FitCheckpoints<'a>>,
    cache: Option<(CallCache<'a>, FitKey)>,
}

impl<'a> TextFit<'a> {
    /// Reads the rows of the text, and opens the folder of checkpoints or the cache of the storage, where it has one.
    /// The fit is made on the device of the model, whichever the storage has.
    pub fn open(
        plan: TextFitPlan<'a>,
        words: &'static TextFitWords,
        storage: &FitStorage<'a>,
        task: &'a Task,
    ) -> Result<Self> {
        let TextDescentOptions { batch, rows, seed, .. } = *plan.descent;
        let order = StepOrder { batch, seed: seed.draws(), stream: words.order };
        let rows = TextRows::read(plan.model, plan.text, plan.context, rows, order, task)?;
        let mut fit = Self { plan, words, rows, checkpoints: None, cache: None };
        if let Some(folder) = storage.checkpoint(Path::new("")) {
            fit.checkpoints = Some(FitCheckpoints::open(folder, &words.checkpoint, || fit.identity(task))?);
        } else if let Some(cache) = storage.call_cache(task) {
            let identity = fit.identity(task)?;
            let TextFitPlan { model, text, site, .. } = &fit.plan;
            let key = FitKey::of_rows(&identity, model, site, text.name());
            fit.cache = Some((cache, key));
        }
        Ok(fit)
    }

    /// Returns what identifies the fit: the model by its weights and config, the site, the rows and all options.
    fn identity(&self, task: &Task) -> Result<Value> {
        let TextFitPlan { model, site, features, options, .. } = &self.plan;
        let mut model = json!(ModelMark::of(model, task)?);
        // The model's content counts, not where it was loaded from.
        model["origin"] = Value::Null;
        let mut recipe = options.clone();
        recipe.insert("kind".into(), self.words.kind.into());
        Ok(json!({
            "reads": { "model": model, "sites": site },
            "tokens": self.rows.hash(),
            "recipe": recipe,
            "d_sae": features,
        }))
    }

    /// Loads what the cache has of the same fit.
    pub fn cached<T: TextDictionary>(&self, task: &Task) -> Result<Option<FittedOnText<T>>> {
        let Some((cache, key)) = &self.cache else { return Ok(None) };
        let found = cache.find(key, |cache| cache.find_tensors(key)?.map(FittedOnText::of_tensors).transpose())?;
        if found.is_some() {
            cache.tell(key.site());
            // It counts as the piece of work that it saves, so that numbers of pieces do not depend on the cache.
            let _piece = task.piece();
        }
        Ok(found)
    }

    /// Makes the steps of the fit from these parameters on, or from those of the checkpoint. `step` makes a step of the
    /// descent on some rows. An interruption ends the fit early. Returns the parameters as they are then, and the
    /// losses of the steps made.
    pub fn descend(
        &mut self,
        begun: Vec<(String, Tensor)>,
        step: impl FnMut(&mut Descent, &[&EvaluationText]) -> Result<f64>,
        task: &Task,
    ) -> Result<(Vec<Tensor>, Vec<f64>)> {
        let rule = DescentRule::Adam { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 };
        let TextDescentOptions { lr, warmup, clip, .. } = *self.plan.descent;
        let steps = Some(self.plan.steps);
        let schedule = ScheduleShape::Trapezoid;
        let options = DescentOptions { lr, schedule, warmup, steps, clip, ..DescentOptions::default() };
        let descent = Descent::new(rule, begun, options)?;
        let mut running = RunningFit { fit: self, descent, losses: Vec::new(), step };
        running.resume()?;
        training::run(&mut running, task)?;
        Ok((running.descent.parameters(), running.losses))
    }

    /// Returns a dictionary with the losses of its fit, and caches it if the fit was not interrupted.
    pub fn finished<T: TextDictionary>(&self, made: T, losses: Vec<f64>) -> FittedOnText<T> {
        let fitted = FittedOnText { made, losses };
        if let Some((cache, key)) = &self.cache
            && fitted.losses.len() as u64 == self.plan.steps
        {
            cache.put(key, |cache| cache.put_tensors(key, fitted.to_tensors()?));
        }
        fitted
    }
}

/// A fit that makes its steps.
struct RunningFit<'f, 'a, F> {
    fit: &'f mut TextFit<'a>,
    descent: Descent,
    losses: Vec<f64>,
    step: F,
}

impl<F> RunningFit<'_, '_, F> {
    /// Restores the parameters and the losses from the checkpoint, if there is one.
    fn resume(&mut self) -> Result<()> {
        let Some(kept) = &mut self.fit.checkpoints else { return Ok(()) };
        kept.resume("another model, site or text", "the same model, site, text", |file| {
            self.losses = floats(&file.tensor(LOSSES)?)?;
            let made = self.losses.len() as u64;
            self.descent.restore(file, made)?;
            Ok(made)
        })
    }
}

impl<F: FnMut(&mut Descent, &[&EvaluationText]) -> Result<f64>> Trainer for RunningFit<'_, '_, F> {
    fn label(&self) -> String {
        format!("fitting a {}", self.fit.words.name)
    }

    fn steps(&self) -> u64 {
        self.fit.plan.steps
    }

    fn made(&self) -> u64 {
        self.descent.made()
    }

    fn advance(&mut self, _: &Task) -> Result<()> {
        let rows = self.fit.rows.of_step(self.descent.made());
        let loss = (self.step)(&mut self.descent, &rows)?;
        self.losses.push(loss);
        Ok(())
    }

    fn progress(&self, speed: f64) -> String {
        self.losses.last().map_or_else(String::new, |loss| format!("loss {loss:.4}, {speed:.0} steps/s"))
    }

    fn numbers_of(&self, _: usize, step: u64) -> Vec<(&'static str, f64)> {
        of_step(&self.losses, step).map(|loss| ("loss", *loss)).into_iter().collect()
    }

    fn checkpoints(&self) -> Option<&Checkpoints<'_>> {
        self.fit.checkpoints.as_ref().map(|kept| &kept.files)
    }

    fn save(&mut self) -> Result<()> {
        let Some(kept) = &mut self.fit.checkpoints else { return Ok(()) };
        kept.save(self.descent.made(), || {
            let mut tensors = BTreeMap::from([(LOSSES.to_string(), in_tensor(&self.losses)?)]);
            self.descent.save(&mut tensors);
            Ok(tensors)
        })
    }

    fn left(&self) -> String {
        format!("the {} as it is", self.fit.words.name)
    }
}
