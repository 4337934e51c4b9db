//! Options of a fit with their defaults; the plan that they make with a kind, everything but the data; and the recipe
//! that a plan is for known data.
//!
//! The defaults beat those of other libraries at equal steps on activations of several sites and models:
//! docs/benchmarks-quality.md has the table, and `cargo bench --bench quality` makes it again. Learning rate and
//! maximum gradient norm are for activations of mean square 1.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::data::RowBuffer;
use super::kinds::{self, DictionaryKind, KindName};
use super::params::DictionaryShape;
use crate::base::random::{OF_CALL, Seed};
use crate::common::*;
use crate::options::Plain;
use crate::training::{Optimizer, Schedule, ScheduleShape};

crate::choices! {
    /// Normalisation of the reconstruction error.
    pub enum ErrorNormalisation {
        /// The mean over rows and dimensions, as Cunningham et al. 2023 have it.
        Mean = "mean",
        /// The mean over rows of the sum over dimensions, as most others do.
        Sum = "sum",
        /// The sum of squared errors over the sum of squares about the mean of what is to be reconstructed (Gao et al.
        /// 2024, section 2.1).
        Normalised = "normalised",
    }
}

impl ErrorNormalisation {
    /// Returns the weight of a squared error of a target; `spread` is the target's sum of squares about its mean.
    pub fn weight(self, rows: usize, width: usize, spread: f64) -> f64 {
        match self {
            ErrorNormalisation::Mean => 1.0 / (rows * width) as f64,
            ErrorNormalisation::Sum => 1.0 / rows as f64,
            ErrorNormalisation::Normalised => 1.0 / spread,
        }
    }
}

crate::choices! {
    /// Treatment of dead features.
    pub enum DeadOption {
        /// AuxK loss, in which dead features learn from the residual (Gao et al. 2024, section A.2).
        AuxK = "auxk",
        /// Re-initialisation as badly reconstructed rows (Bricken et al. 2023).
        Resample = "resample",
        Leave = "leave",
    }
}

crate::choices! {
    /// Dtypes to which the products of a fit's encoder round what they multiply.
    pub enum EncoderProducts {
        /// Numbers as they are.
        F32 = "f32",
        /// Numbers of both factors rounded to bf16, with sums in f32.
        Bf16 = "bf16",
    }
}

impl EncoderProducts {
    /// Returns whether nothing is rounded, as in the recipes of all fits from before there was a choice.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// Computes x W^T + b. Gradients are those of the numbers as they are.
    pub fn linear(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(match self {
            Self::F32 => kernels::linear(x, weight, bias)?,
            Self::Bf16 => kernels::linear_rounded(x, weight, bias)?,
        })
    }

    /// Refuses products of rounded numbers on a device that has none.
    pub fn check(self, device: &Device) -> Result<()> {
        if self.is_f32() || device.is_cpu() {
            return Ok(());
        }
        Err(err!(Argument, "expected a fit on the CPU for products of {}, found another device", self.word())
            .hint("leave it out there: products on a GPU are of numbers as they are")
            .about("compute"))
    }
}

crate::options! {
    pub struct FitOptions {
        /// The kind of dictionary; each has options of its own.
        kind: KindName = KindName("topk");
        /// Number of features.
        d_sae: Option<usize> = None => usually("`ratio` times d");
        /// Number of features over number of dimensions.
        ratio: f64 = 8.0 => above(0.0);
        /// Number of epochs.
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
        counting: Option<ErrorNormalisation> = None => called("loss").usually("\"normalised\", or \"mean\" for \"tied\"");
        /// Whether directions are kept at norm 1.
        unit: Option<bool> = None => usually("true, but for \"tied\" and where a penalty is weighted");
        /// Treatment of dead features: they learn from the residual (AuxK loss), are re-initialised as badly
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
            => usually("a quarter of an epoch, at most 10 million; with \"resample\", a sixteenth of the training. Where \
                this is not set and less than 10 million, the AuxK loss waits while more than `k_aux` features are dead");
        /// Whether activations are centred and scaled during training.
        scaled: bool = true;
        /// The dtype to which the encoder's products round rows and weights during training, while the weights stay f32.
        compute: EncoderProducts = EncoderProducts::F32;
        /// Rows in the shuffle buffer, from which batches are drawn; not for tensors.
        buffer: Option<usize> = None => usually("32768 for a store, and for a text what 2 GiB hold");
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
    }
}

crate::choices! {
    /// Name of a target.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum TargetName {
        Dictionary = "dictionary",
        Transcoder = "transcoder",
        Crosscoder = "crosscoder",
        CrossLayer = "cross_layer",
    }
}

/// Plan of a fit, before its data are known.
#[derive(Debug, Clone)]
pub struct FitPlan {
    options: FitOptions,
    kind: Arc<dyn DictionaryKind>,
}

impl FitPlan {
    /// Builds a plan for one kind of dictionary: `FitPlan::new(kinds::TopK { k: 8, ..Default::default() }, ..)`.
    pub fn new(kind: impl DictionaryKind + 'static, options: FitOptions) -> Self {
        Self { options: FitOptions { kind: KindName(kind.properties().name), ..options }, kind: Arc::new(kind) }
    }

    /// Builds a plan for the kind that the options name, with the options that this kind has of its own. The widths of
    /// a crosscoder are not among them: they are those of its sites.
    pub fn named(of: TargetName, options: FitOptions, own: &[(&str, Plain)]) -> Result<Self> {
        let mut own = own.to_vec();
        if of == TargetName::Crosscoder && options.kind.0 == kinds::crosscoder::NAME {
            own.retain(|(name, _)| *name != kinds::crosscoder::WIDTHS);
            own.push((kinds::crosscoder::WIDTHS, Plain::List(Vec::new())));
        }
        Ok(Self { kind: kinds::kind(options.kind.0, &own)?, options })
    }

    pub fn seed(&self) -> u64 {
        self.options.seed.draws()
    }

    /// Returns how the rows of a store or a text are shuffled.
    pub fn buffer(&self) -> RowBuffer {
        RowBuffer { seed: self.seed(), rows: self.options.buffer }
    }

    /// Returns this plan for a transcoder.
    #[must_use]
    pub fn for_transcoder(&self) -> Self {
        let lr = self.options.lr.or(Some(LR_OF_TRANSCODERS));
        Self { kind: self.kind.clone(), options: FitOptions { lr, ..self.options.clone() } }
    }

    /// Returns this plan for a crosscoder of sites of these widths.
    #[must_use]
    pub fn for_crosscoder(&self, widths: &[usize]) -> Self {
        let kind = self.kind.of_widths(widths).unwrap_or_else(|| self.kind.clone());
        Self { kind, options: self.options.clone() }
    }

    /// Returns the recipe of a fit to this many rows of this width.
    pub fn recipe(&self, rows: usize, width: usize) -> Recipe {
        let options = &self.options;
        let kind = self.kind.clone();
        let properties = kind.properties();
        let d_sae = options.d_sae.unwrap_or((options.ratio * width as f64).round() as usize);
        let batch = options.batch.min(rows);
        let steps = options.steps.unwrap_or((options.passes * rows as f64 / batch as f64).ceil() as usize) as u64;
        let of_kind =
            if properties.averages_errors { ErrorNormalisation::Mean } else { ErrorNormalisation::Normalised };
        let counting = options.counting.unwrap_or(of_kind);
        // A sum over dimensions has gradients as many times as long.
        let clip = if counting == ErrorNormalisation::Sum { CLIP * width as f64 } else { CLIP };
        let (dead, dead_after) = options.dead(properties.leaves_dead, width, d_sae, rows, steps, batch);
        Recipe {
            d_sae,
            steps,
            batch,
            lr: options.lr.unwrap_or(LR),
            schedule: Schedule {
                shape: options.schedule,
                warmup: options.warmup.map_or(steps / 50, |steps| steps as u64),
                decay: options.decay.map_or(steps / 5, |steps| steps as u64),
                floor: 0.0,
            },
            betas: options.betas,
            eps: options.eps,
            clip: options.clip.unwrap_or(Some(clip)),
            sparsity_warmup: options.sparsity_warmup as u64,
            counting,
            unit: options.unit.unwrap_or(properties.likes_unit),
            dead,
            dead_after: options.dead_after.map_or(dead_after, |rows| rows as u64),
            scaled: options.scaled,
            compute: options.compute,
            skip: false,
            follows: follows(steps),
            seed: self.seed(),
            kind,
        }
    }
}

impl FitOptions {
    /// Returns the treatment of dead features, and the number of rows without activation after which a feature is dead.
    fn dead(
        &self,
        leaves_dead: bool,
        width: usize,
        d_sae: usize,
        rows: usize,
        steps: u64,
        batch: usize,
    ) -> (Dead, u64) {
        let dead_after = (rows as u64 / 4).clamp(1, LONG);
        match self.dead {
            // Bricken et al. 2023 do so four times at equal distances, for features silent over half of one.
            DeadOption::Resample => {
                let distance = (steps / 8).max(1);
                let after = self.resample_at.as_ref().map(|steps| steps.iter().map(|step| *step as u64).collect());
                let after = after.unwrap_or_else(|| (1..=4).map(|turn| turn * distance).collect());
                (Dead::Resample { after }, (distance * batch as u64 / 2).max(1))
            }
            // Gao et al. 2024, section A.2; a tied dictionary is as Cunningham et al. 2023 have it.
            DeadOption::AuxK if !leaves_dead => {
                let k = self.k_aux.unwrap_or(width / 2).clamp(1, d_sae.max(1));
                let is_hasty = self.dead_after.is_none() && dead_after < LONG;
                let most = if is_hasty { k } else { usize::MAX };
                (Dead::AuxK(AuxK { k, weight: self.aux.unwrap_or(1.0 / 32.0), most }), dead_after)
            }
            DeadOption::AuxK | DeadOption::Leave => (Dead::Leave, dead_after),
        }
    }
}

/// Rows without activation after which a feature is dead in Gao et al. 2024. In a shorter wait many features have not had
/// their turn yet; the AuxK loss would draw all of them to the few largest directions of the residual, where they stay
/// dead. (On 99,328 rows of Gemma 3 270M, of 16,384 features 94 % were, 18 % without it, and 19 % where it waits while
/// more are dead than take part in a row.)
const LONG: u64 = 10_000_000;
/// The peak learning rate.
const LR: f64 = 6e-3;
/// Learning rate of transcoders, whose encoder and decoder have more to learn from each other. (After 100 and 400 steps
/// on the MLPs of the embedded model it explains more than .006 in four cases of five; .02 leaves twice as many features
/// dead.)
const LR_OF_TRANSCODERS: f64 = 1.2e-2;
/// Maximum gradient norm. The normalised error nearly always has a larger gradient, so that every step has the same
/// weight in Adam's second moment; the large ones of the first steps would stay in it for hundreds of steps, and slow
/// the training.
const CLIP: f64 = 0.01;

/// The AuxK loss: the `k` largest dead features of each row reconstruct the residual of the living ones; `weight` is that
/// of the error relative to the residual's variance (Gao et al. 2024, section A.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AuxK {
    pub k: usize,
    pub weight: f64,
    /// Number of dead features above which the loss waits.
    pub most: usize,
}

impl AuxK {
    /// Returns how many features of a row take part where so many are dead; none while the loss waits.
    pub fn of_row(&self, dead: usize) -> usize {
        if dead > self.most { 0 } else { self.k.min(dead) }
    }
}

/// The treatment of dead features in a fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dead {
    Leave,
    AuxK(AuxK),
    /// Steps at which dead features are re-initialised as badly reconstructed rows of the step (Bricken et al. 2023).
    Resample {
        after: Vec<u64>,
    },
}

impl Dead {
    /// Returns whether dead features are resampled after this step.
    pub fn resamples(&self, step: u64) -> bool {
        matches!(self, Dead::Resample { after } if after.contains(&step))
    }
}

/// The identity of a fit, for checkpoints and the cache; a longer one is another, since its learning rates may differ.
#[derive(Debug, Clone, Serialize)]
pub struct Recipe {
    #[serde(flatten, serialize_with = "named")]
    pub kind: Arc<dyn DictionaryKind>,
    /// Number of features, of each layer where there are several. A checkpoint has it in the shapes of its weights.
    #[serde(skip)]
    pub d_sae: usize,
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
    pub counting: ErrorNormalisation,
    /// Whether directions are kept at norm 1, with the gradient along them removed (Bricken et al. 2023).
    pub unit: bool,
    pub dead: Dead,
    /// Rows without activation after which a feature is dead.
    pub dead_after: u64,
    /// Whether activations are centred and scaled to mean square 1 during training.
    pub scaled: bool,
    /// The precision of the encoder's products. A recipe that does not say it is one of f32.
    #[serde(skip_serializing_if = "EncoderProducts::is_f32")]
    pub compute: EncoderProducts,
    /// The skip connection of a transcoder.
    pub skip: bool,
    /// The decay of the running mean of the smallest code: see [`follows`].
    pub follows: f64,
    pub seed: u64,
}

/// Returns the decay of the running mean of the smallest code: 0.999 as in Bussmann et al. 2024, and less in a short
/// fit, where the first steps with their larger codes would still weigh in: a threshold that was too high left 9 of 64
/// codes of a row after 300 steps.
pub fn follows(steps: u64) -> f64 {
    1.0 - 1.0 / (steps as f64 / 20.0).clamp(1.0, 1000.0)
}

/// Writes a kind as its name and its own options.
fn named<S: Serializer>(kind: &Arc<dyn DictionaryKind>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    json!({ "kind": kind.name(), "options": kind.options() }).serialize(serializer)
}

impl Recipe {
    pub fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule, betas, eps, clip, .. } = *self;
        Optimizer { steps, lr, schedule, betas, eps, clip, clip_eps: 1e-6 }
    }

    /// Returns the warm-up factor of the penalty at a step, counted from 0.
    pub fn sparsity(&self, step: u64) -> f64 {
        match self.sparsity_warmup {
            0 => 1.0,
            warmup => (step as f64 / warmup as f64).min(1.0),
        }
    }

    pub fn json(&self) -> Value {
        json!(self)
    }

    /// Returns the name of a fit in the folder of its sweep: `topk-k-32-4096-seed-0`.
    pub fn folder(&self) -> String {
        let mut name = self.kind.name().to_string();
        for (key, value) in self.kind.options().as_object().into_iter().flatten() {
            if value.is_number() {
                name += &format!("-{key}-{value}");
            }
        }
        format!("{name}-{}-seed-{}", self.d_sae, self.seed)
    }

    /// Refuses invalid settings, by the names of the script's options.
    pub fn checked(self, shape: DictionaryShape) -> Result<Self> {
        self.optimizer().check()?;
        for (name, size) in [("batch", self.batch), ("d_sae", self.d_sae)] {
            if size == 0 {
                return Err(err!(Argument, "expected at least 1 as `{name}`, found 0").about(name));
            }
        }
        if self.kind.properties().is_tied && shape.d_in != shape.d_out {
            return Err(err!(
                Argument,
                "a tied dictionary reconstructs its input: expected the same width, found {} and {}",
                shape.d_in,
                shape.d_out
            ));
        }
        if !self.unit && self.kind.properties().needs_unit {
            return Err(err!(
                Argument,
                "the kind \"{}\" compares codes of different features: its directions have norm 1",
                self.kind.name()
            ));
        }
        if !self.compute.is_f32() && self.kind.properties().has_own_products {
            return Err(err!(
                Argument,
                "expected \"f32\" as `compute` for the kind \"{}\", whose codes are no product of an encoder, found \"{}\"",
                self.kind.name(),
                self.compute.word()
            )
            .about("compute"));
        }
        self.kind.check(shape)?;
        Ok(self)
    }
}
