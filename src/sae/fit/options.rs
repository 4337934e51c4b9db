//! What may be said of a fit, beside its data and the options of its kind; and the recipe that it makes.

use std::sync::Arc;

use super::kinds::{Kind, NAMES};
use super::recipe::{Counting, Dead, Recipe, Shape};
use crate::base::Result;
use crate::base::options::{Plain, Setting, one_of};
use crate::training::{Schedule, ScheduleShape};

/// The name of a kind of dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindName(pub &'static str);

impl Setting for KindName {
    const CHOICES: &'static [&'static str] = &NAMES;

    fn wanted() -> String {
        one_of(NAMES)
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Text(text) = value else { return None };
        NAMES.into_iter().find(|name| name == text).map(Self)
    }

    fn written(&self) -> String {
        format!("{:?}", self.0)
    }
}

crate::choices! {
    /// What is done about dead features.
    pub enum DeadOption {
        /// They learn from what the living ones leave (Gao et al. 2024, section A.2).
        AuxK = "auxk",
        /// They begin anew as rows that are badly reconstructed (Bricken et al. 2023).
        Resample = "resample",
        Leave = "leave",
    }
}

crate::options! {
    #[derive(Debug, Clone)]
    pub struct FitOptions {
        /// The kind of dictionary; each has options of its own.
        kind: KindName = KindName("topk");
        /// Number of features.
        d_sae: Option<usize> = None => usually("`ratio` times d");
        /// Number of features over number of dimensions.
        ratio: f64 = 8.0 => above(0.0);
        /// Epochs.
        passes: f64 = 4.0 => above(0.0);
        /// Number of updates.
        steps: Option<usize> = None => usually("as many as `passes` takes");
        /// Rows in a batch.
        batch: usize = 2048;
        /// Peak learning rate.
        lr: Option<f64> = None => usually("6e-3").above(0.0);
        /// Learning rate schedule.
        schedule: Option<ScheduleShape> = None => usually("\"trapezoid\"");
        /// Steps of learning rate warm-up.
        warmup: Option<usize> = None => usually("a fiftieth of the steps");
        /// Steps on which the learning rate of "trapezoid" decays.
        decay: Option<usize> = None => usually("a fifth of the steps");
        /// Decay rates of Adam's moments.
        betas: Option<[f64; 2]> = None => usually("[0.9, 0.99]");
        /// Adam's epsilon.
        eps: f64 = 1e-8;
        /// Maximum gradient norm, or () for no clipping.
        clip: Option<Option<f64>> = None
            => usually("0.01, times the number of dimensions where `loss` is a sum").above(0.0);
        /// Steps of sparsity penalty warm-up.
        sparsity_warmup: usize = 0;
        /// Squared error: relative to the variance, its mean over dimensions, or its sum.
        counting: Option<Counting> = None => called("loss").usually("\"normalised\", or \"mean\" for \"tied\"");
        /// Whether directions are kept at norm 1.
        unit: Option<bool> = None => usually("true, but for \"tied\" and where a penalty is weighted");
        /// What happens to dead features: they learn from the residual (AuxK loss), are re-initialised as badly
        /// reconstructed rows of that step, or are left alone.
        dead: DeadOption = DeadOption::AuxK;
        /// The steps at which dead features are resampled.
        resample_at: Option<Vec<usize>> = None => usually("four times in the first half");
        /// Number of dead features in each row of the AuxK loss.
        k_aux: Option<usize> = None => usually("d / 2");
        /// Weight of the AuxK loss.
        aux: Option<f64> = None => usually("1/32");
        /// Rows without activation after which a feature is dead.
        dead_after: Option<usize> = None
            => usually("a quarter of an epoch, at most 10 million; with \"resample\", a sixteenth of the training");
        /// Whether activations are centred and scaled during training.
        scaled: bool = true;
        /// The seed of this call.
        seed: Option<i64> = None => usually("the run's seed");
    }
}

impl FitOptions {
    /// The recipe of a fit to so many rows of this width, and how many features it has.
    pub fn recipe(&self, kind: Arc<dyn Kind>, rows: usize, width: usize, seed: u64) -> Result<(Recipe, usize)> {
        let d_sae = self.d_sae.unwrap_or((self.ratio * width as f64).round() as usize);
        let batch = self.batch.min(rows);
        let steps = self.steps.unwrap_or((self.passes * rows as f64 / batch as f64).ceil() as usize) as u64;
        let shape = Shape { d_in: width, d_sae, d_out: width };
        let usual = Recipe::usual(kind, self.counting, shape, rows, steps, batch, seed);
        let schedule = Schedule {
            shape: self.schedule.unwrap_or(usual.schedule.shape),
            warmup: self.warmup.map_or(usual.schedule.warmup, |steps| steps as u64),
            decay: self.decay.map_or(usual.schedule.decay, |steps| steps as u64),
            ..usual.schedule
        };
        let mut dead_after = usual.dead_after;
        let dead = match (self.dead, &usual.dead) {
            // Bricken et al. 2023 do so four times at equal distances, for features silent over half of one.
            (DeadOption::Resample, _) => {
                let distance = (steps / 8).max(1);
                dead_after = (distance * batch as u64 / 2).max(1);
                let after = self.resample_at.as_ref().map(|steps| steps.iter().map(|step| *step as u64).collect());
                Dead::Resample { after: after.unwrap_or_else(|| (1..=4).map(|turn| turn * distance).collect()) }
            }
            (DeadOption::AuxK, Dead::AuxK { k, weight }) => {
                let k = self.k_aux.map_or(*k, |k| k.clamp(1, d_sae.max(1)));
                Dead::AuxK { k, weight: self.aux.unwrap_or(*weight) }
            }
            (DeadOption::AuxK | DeadOption::Leave, _) => Dead::Leave,
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
}
