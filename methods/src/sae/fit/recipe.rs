//! The recipe of a fit: everything but its data.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::kinds::DictionaryKind;
use super::params::Shape;
use crate::base::Result;
use crate::err;
use crate::training::{Optimizer, Schedule};

crate::choices! {
    /// How the reconstruction error is normalised.
    pub enum Counting {
        /// The mean over rows and dimensions, as Cunningham et al. 2023 have it.
        Mean = "mean",
        /// The mean over rows of the sum over dimensions, as most others do.
        Sum = "sum",
        /// That over the sum of squares about the mean of what is to be reconstructed (Gao et al. 2024, section 2.1).
        Normalised = "normalised",
    }
}

impl Counting {
    /// What a squared number that is left of a target counts; `spread` is the target's sum of squares about its mean.
    pub fn weight(self, rows: usize, width: usize, spread: f64) -> f64 {
        match self {
            Counting::Mean => 1.0 / (rows * width) as f64,
            Counting::Sum => 1.0 / rows as f64,
            Counting::Normalised => 1.0 / spread,
        }
    }
}

/// What happens to dead features.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dead {
    Leave,
    /// AuxK: the `k` largest dead features of each row reconstruct the residual of the living ones; `weight` is that of
    /// the error relative to the residual's variance (Gao et al. 2024, section A.2).
    AuxK {
        k: usize,
        weight: f64,
    },
    /// At these steps dead features are resampled, as badly reconstructed rows of that step (Bricken et al. 2023).
    Resample {
        after: Vec<u64>,
    },
}

impl Dead {
    /// Whether dead features are resampled after this step.
    pub fn resamples(&self, step: u64) -> bool {
        matches!(self, Dead::Resample { after } if after.contains(&step))
    }
}

/// What identifies a fit, for checkpoints and the cache; a longer one is another, since its learning rates may differ.
#[derive(Debug, Clone, Serialize)]
pub struct Recipe {
    #[serde(flatten, serialize_with = "named")]
    pub kind: Arc<dyn DictionaryKind>,
    pub steps: u64,
    /// Rows in a batch.
    pub batch: usize,
    pub lr: f64,
    pub schedule: Schedule,
    pub betas: [f64; 2],
    pub eps: f64,
    /// Maximum gradient norm, over all weights together.
    pub clip: Option<f64>,
    /// Steps of linear sparsity warm-up.
    pub sparsity_warmup: u64,
    pub counting: Counting,
    /// Whether directions are kept at norm 1, with the gradient along them removed (Bricken et al. 2023).
    pub unit: bool,
    pub dead: Dead,
    /// Rows without activation after which a feature is dead.
    pub dead_after: u64,
    /// Whether activations are centred and scaled to mean square 1 during training.
    pub scaled: bool,
    /// The skip connection of a transcoder.
    pub skip: bool,
    /// The decay of the running mean of the smallest code: see [`follows`].
    pub follows: f64,
    pub seed: u64,
}

/// The decay of the running mean of the smallest code: 0.999 as in Bussmann et al. 2024, and less in a short fit, where
/// the first steps with their larger codes would still weigh in: a threshold that was too high left 9 of 64 codes of a
/// row after 300 steps.
pub fn follows(steps: u64) -> f64 {
    1.0 - 1.0 / (steps as f64 / 20.0).clamp(1.0, 1000.0)
}

/// A kind as its name and its own options.
fn named<S: Serializer>(kind: &Arc<dyn DictionaryKind>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    json!({ "kind": kind.name(), "options": kind.options() }).serialize(serializer)
}

impl Recipe {
    pub fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule, betas, eps, clip, .. } = *self;
        Optimizer { steps, lr, schedule, betas, eps, clip, clip_eps: 1e-6 }
    }

    /// The warm-up factor of the penalty at a step, counted from 0.
    pub fn sparsity(&self, step: u64) -> f64 {
        match self.sparsity_warmup {
            0 => 1.0,
            warmup => (step as f64 / warmup as f64).min(1.0),
        }
    }

    pub fn json(&self) -> Value {
        json!(self)
    }

    /// Refuses invalid settings, by the names of the script's options.
    pub fn checked(self, shape: Shape) -> Result<Self> {
        self.optimizer().check()?;
        for (name, size) in [("batch", self.batch), ("d_sae", shape.d_sae)] {
            if size == 0 {
                return Err(err!(Argument, "expected at least 1 as `{name}`, found 0").about(name));
            }
        }
        if self.kind.is_tied() && shape.d_in != shape.d_out {
            return Err(err!(
                Argument,
                "a tied dictionary reconstructs its input: expected the same width, found {} and {}",
                shape.d_in,
                shape.d_out
            ));
        }
        if !self.unit && self.kind.needs_unit() {
            return Err(err!(
                Argument,
                "the kind \"{}\" compares codes of different features: its directions have norm 1",
                self.kind.name()
            ));
        }
        self.kind.check(shape)?;
        Ok(self)
    }
}
