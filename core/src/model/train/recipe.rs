//! The recipe of a training: everything but its config and its examples.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::added::AddedVectors;
use super::lora::LoraOptions;
use super::sparse::SparseOptions;
use crate::base::Result;
use crate::err;
use crate::options::Setting;
use crate::training::{Optimizer, Schedule, with_way_out};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub steps: u64,
    /// Rows of one forward and backward pass, the micro-batch.
    pub rows: usize,
    /// Gradient accumulation: passes in a step.
    pub accumulate: usize,
    /// Peak learning rate.
    pub lr: f64,
    pub schedule: Schedule,
    pub betas: [f64; 2],
    pub eps: f64,
    /// Weight decay, on matrices only, not on norms and biases.
    pub weight_decay: f64,
    /// Maximum gradient norm, over all weights together.
    pub clip: Option<f64>,
    /// Dropout probability, on embeddings and on the outputs of attention and MLP.
    pub dropout: f64,
    /// The factor of the sizes of neurons in the loss.
    #[serde(default)]
    pub neuron_l1: f64,
    /// Low-rank matrices that are trained in place of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraOptions>,
    /// Weights of which only the largest stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse: Option<SparseOptions>,
    /// Vectors that are added at sites, in training alone.
    #[serde(default, skip_serializing_if = "AddedVectors::is_empty")]
    pub added: AddedVectors,
    pub seed: u64,
}

impl Recipe {
    /// Refuses invalid settings, by the names of the script's options.
    pub fn checked(self) -> Result<Self> {
        self.optimizer().check()?;
        for (name, size) in [("batch", self.rows), ("accumulate", self.accumulate)] {
            if size == 0 {
                return Err(err!(Argument, "expected at least 1 as `{name}`, found 0").about(name));
            }
        }
        let within = |name: &str, x: f64, fits: bool, wanted: &str| {
            if fits && x.is_finite() {
                Ok(())
            } else {
                Err(err!(Argument, "expected {wanted} as `{name}`, found {x}").about(name))
            }
        };
        within("eps", self.eps, self.eps > 0.0, "a number above 0")?;
        within("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "a number of at least 0")?;
        within("dropout", self.dropout, (0.0..1.0).contains(&self.dropout), "a share of at least 0 and below 1")?;
        let floor = self.schedule.floor;
        within("floor", floor, (0.0..=1.0).contains(&floor), "a share from 0 to 1")?;
        if self.lora.is_some() && self.sparse.is_some() {
            return Err(err!(
                Argument,
                "expected `lora` or `sparse`, found both: low-rank matrices leave the weights as they are"
            )
            .about("sparse"));
        }
        for beta in self.betas {
            within("betas", beta, (0.0..1.0).contains(&beta), "shares of at least 0 and below 1")?;
        }
        Ok(self)
    }

    pub fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule, betas, eps, clip, .. } = *self;
        Optimizer { steps, lr, schedule, betas, eps, clip, clip_eps: 0.0 }
    }

    /// Writes all settings by their names, vectors that are added in short.
    pub fn settings(&self) -> Value {
        let mut settings = json!(Self { added: AddedVectors::default(), ..self.clone() });
        if !self.added.is_empty() {
            settings["added"] = json!(self.added.written());
        }
        settings
    }

    /// Refuses to resume a training that made `done` steps by `other` by this recipe unless the two agree so far.
    pub fn continues(&self, other: &Recipe, done: u64) -> Result<()> {
        let same_length = Recipe { steps: other.steps, schedule: other.schedule, ..self.clone() };
        if same_length != *other {
            let ours = self.described();
            let theirs = other.described();
            let differs = ours.iter().zip(&theirs).find(|(a, b)| a != b);
            let (found, wanted) = differs.map_or(("", ""), |(a, b)| (a.as_str(), b.as_str()));
            let error = err!(Argument, "the checkpoint there has {wanted}, and this training {found}");
            return Err(with_way_out(error, "the same options"));
        }
        let ours = self.optimizer();
        let theirs = other.optimizer();
        if let Some(step) = (0..done).find(|step| ours.rate(*step) != theirs.rate(*step)) {
            let kept = theirs.rate(step);
            let now = ours.rate(step);
            return Err(err!(
                Argument,
                "the checkpoint there had the learning rate {kept:e} at step {step}, and this training has {now:e}"
            )
            .hint("a training can be extended if its schedule is unchanged for the steps already made"));
        }
        let share = |recipe: &Recipe, step| recipe.sparse.as_ref().map(|sparse| sparse.share(step, recipe.steps));
        if let Some(step) = (0..done).find(|step| share(self, *step) != share(other, *step)) {
            return Err(err!(
                Argument,
                "the checkpoint there had another share of weights at step {step} than this training, of {} steps and not {}",
                self.steps,
                other.steps
            )
            .hint("the share falls over a part of all steps: give as many, or another `dir`"));
        }
        Ok(())
    }

    /// Lists the settings that must not differ, by name.
    fn described(&self) -> Vec<String> {
        vec![
            format!("`batch` {}", self.rows),
            format!("`accumulate` {}", self.accumulate),
            format!("`lr` {}", self.lr),
            format!("`betas` {:?}", self.betas),
            format!("`eps` {}", self.eps),
            format!("`weight_decay` {}", self.weight_decay),
            format!("`clip` {:?}", self.clip),
            format!("`dropout` {}", self.dropout),
            format!("`neuron_l1` {}", self.neuron_l1),
            format!("`lora` {}", self.lora.written()),
            format!("`sparse` {}", self.sparse.written()),
            format!("`added` {}", self.added.written()),
            format!("`seed` {}", self.seed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::ScheduleShape;

    #[test]
    fn a_training_goes_on_only_as_it_was() {
        let trapezoid = Schedule { shape: ScheduleShape::Trapezoid, warmup: 2, decay: 4, floor: 0.0 };
        let kept = Recipe { steps: 20, schedule: trapezoid, ..Recipe::default() };
        let longer = Recipe { steps: 40, ..kept.clone() };
        assert!(longer.continues(&kept, 16).is_ok());
        let said = longer.continues(&kept, 18).unwrap_err().to_string();
        assert!(said.contains("learning rate 7.5e-4 at step 17, and this training has 1e-3"), "{said}");
        let said = Recipe { lr: 2e-3, ..kept.clone() }.continues(&kept, 1).unwrap_err().to_string();
        assert!(said.contains("has `lr` 0.001, and this training `lr` 0.002"), "{said}");
    }

    #[test]
    fn impossible_recipes_are_refused_by_name() {
        let said = |recipe: Recipe| recipe.checked().unwrap_err().to_string();
        assert!(said(Recipe { steps: 0, ..Recipe::default() }).contains("`steps`"));
        assert!(said(Recipe { lr: f64::NAN, ..Recipe::default() }).contains("`lr`, found NaN"));
        assert!(said(Recipe { dropout: 1.0, ..Recipe::default() }).contains("`dropout`"));
        assert!(said(Recipe { clip: Some(0.0), ..Recipe::default() }).contains("`clip`"));
        assert_eq!(Recipe::default().checked().unwrap(), Recipe::default());
    }
}
