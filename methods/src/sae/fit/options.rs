//! The options of a fit with their defaults, and the plan that they make with those of its kind: everything but the data.
//!
//! The defaults beat those of other libraries at equal steps on activations of several sites and models:
//! docs/benchmarks-quality.md has the table, and `cargo bench --bench quality` makes it again. Learning rate and maximum
//! gradient norm are for activations of mean square 1.

use std::sync::Arc;

use super::data::RowBuffer;
use super::kinds::{self, DictionaryKind, KindName};
use super::recipe::{Counting, Dead, Recipe, follows};
use crate::base::Result;
use crate::base::options::Plain;
use crate::base::random::{OF_CALL, Seed};
use crate::training::{Schedule, ScheduleShape};

crate::choices! {
    /// What is done about dead features.
    pub enum DeadOption {
        /// They learn from the residual, in the AuxK loss (Gao et al. 2024, section A.2).
        AuxK = "auxk",
        /// They are re-initialised as badly reconstructed rows (Bricken et al. 2023).
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
        lr: Option<f64> = None => usually("0.006, for a transcoder 0.012").above(0.0);
        /// Learning rate schedule.
        schedule: ScheduleShape = ScheduleShape::Trapezoid;
        /// Steps of learning rate warm-up.
        warmup: Option<usize> = None => usually("a fiftieth of the steps");
        /// Steps on which the learning rate of "trapezoid" decays.
        decay: Option<usize> = None => usually("a fifth of the steps");
        /// Decay rates of Adam's moments.
        betas: [f64; 2] = [0.9, 0.99];
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
        /// Rows in the shuffle buffer, from which batches are drawn; not for tensors.
        buffer: Option<usize> = None => usually("32768 for a store, and for a text what 2 GiB hold");
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

/// What a fit is to do, before its data are known.
#[derive(Debug, Clone)]
pub struct FitPlan {
    options: FitOptions,
    kind: Arc<dyn DictionaryKind>,
}

impl FitPlan {
    /// A plan for one kind of dictionary: `FitPlan::new(kinds::TopK { k: 8, ..Default::default() }, ..)`.
    pub fn new(kind: impl DictionaryKind + 'static, options: FitOptions) -> Self {
        Self { options: FitOptions { kind: KindName(kind.name()), ..options }, kind: Arc::new(kind) }
    }

    /// A plan for the kind that the options name, with the options that this kind has of its own.
    pub fn named(options: FitOptions, own: &[(&str, Plain)]) -> Result<Self> {
        Ok(Self { kind: kinds::kind(options.kind.0, own)?, options })
    }

    pub fn seed(&self) -> u64 {
        self.options.seed.draws()
    }

    /// How the rows of a store or a text are shuffled.
    pub fn buffer(&self) -> RowBuffer {
        RowBuffer { seed: self.seed(), rows: self.options.buffer }
    }

    /// The same plan for a transcoder.
    #[must_use]
    pub fn for_transcoder(&self) -> Self {
        let lr = self.options.lr.or(Some(LR_OF_TRANSCODERS));
        Self { kind: self.kind.clone(), options: FitOptions { lr, ..self.options.clone() } }
    }

    /// The recipe of a fit to this many rows of this width, and the number of features.
    pub fn recipe(&self, rows: usize, width: usize) -> Result<(Recipe, usize)> {
        self.options.recipe(self.kind.clone(), rows, width, self.seed())
    }
}

impl FitOptions {
    fn recipe(&self, kind: Arc<dyn DictionaryKind>, rows: usize, width: usize, seed: u64) -> Result<(Recipe, usize)> {
        let d_sae = self.d_sae.unwrap_or((self.ratio * width as f64).round() as usize);
        let batch = self.batch.min(rows);
        let steps = self.steps.unwrap_or((self.passes * rows as f64 / batch as f64).ceil() as usize) as u64;
        let of_kind = if kind.is_as_cunningham() { Counting::Mean } else { Counting::Normalised };
        let counting = self.counting.unwrap_or(of_kind);
        // A sum over dimensions has gradients as many times as long.
        let clip = if counting == Counting::Sum { CLIP * width as f64 } else { CLIP };
        let (dead, dead_after) = self.dead(kind.is_as_cunningham(), (width, d_sae), rows, (steps, batch));
        let recipe = Recipe {
            steps,
            batch,
            lr: self.lr.unwrap_or(LR),
            schedule: Schedule {
                shape: self.schedule,
                warmup: self.warmup.map_or(steps / 50, |steps| steps as u64),
                decay: self.decay.map_or(steps / 5, |steps| steps as u64),
                floor: 0.0,
            },
            betas: self.betas,
            eps: self.eps,
            clip: self.clip.unwrap_or(Some(clip)),
            sparsity_warmup: self.sparsity_warmup as u64,
            counting,
            unit: self.unit.unwrap_or(kind.likes_unit()),
            dead,
            dead_after: self.dead_after.map_or(dead_after, |rows| rows as u64),
            scaled: self.scaled,
            skip: false,
            follows: follows(steps),
            seed,
            kind,
        };
        Ok((recipe, d_sae))
    }

    /// What happens to dead features, and the number of rows without activation after which a feature is dead.
    fn dead(
        &self,
        is_as_cunningham: bool,
        (width, d_sae): (usize, usize),
        rows: usize,
        (steps, batch): (u64, usize),
    ) -> (Dead, u64) {
        // Gao et al. 2024 wait for 10 million tokens; a quarter of an epoch where there are fewer.
        let dead_after = (rows / 4).clamp(1, 10_000_000) as u64;
        match self.dead {
            // Bricken et al. 2023 do so four times at equal distances, for features silent over half of one.
            DeadOption::Resample => {
                let distance = (steps / 8).max(1);
                let after = self.resample_at.as_ref().map(|steps| steps.iter().map(|step| *step as u64).collect());
                let after = after.unwrap_or_else(|| (1..=4).map(|turn| turn * distance).collect());
                (Dead::Resample { after }, (distance * batch as u64 / 2).max(1))
            }
            // Gao et al. 2024, section A.2; a tied dictionary is as Cunningham et al. 2023 have it.
            DeadOption::AuxK if !is_as_cunningham => {
                let k = self.k_aux.unwrap_or(width / 2).clamp(1, d_sae.max(1));
                (Dead::AuxK { k, weight: self.aux.unwrap_or(1.0 / 32.0) }, dead_after)
            }
            DeadOption::AuxK | DeadOption::Leave => (Dead::Leave, dead_after),
        }
    }
}

/// The peak learning rate.
const LR: f64 = 6e-3;
/// That of transcoders, whose encoder and decoder have more to learn from each other. (After 100 and 400 steps on the MLPs of
/// the embedded model it explains more than .006 in four cases of five; .02 leaves twice as many features dead.)
const LR_OF_TRANSCODERS: f64 = 1.2e-2;
/// Maximum gradient norm. The normalised error nearly always has a larger gradient, so that every step has the same
/// weight in Adam's second moment; the large ones of the first steps would stay in it for hundreds of steps, and slow
/// the training.
const CLIP: f64 = 0.01;
