//! The options of a fit of bridges.

use crate::base::random::{OF_CALL, Seed};
use crate::model::train::SparseOptions;
use crate::options::OptionGroup;
use crate::training::{Optimizer, Schedule, ScheduleShape};

crate::options! {
    /// Losses of bridges, each with its weight: `own`, `error`, `to_sparse` and `to_dense`.
    pub struct BridgeLoss {
        /// Weight of the loss of the sparse model on the text.
        own: f64 = 1.0 => at_least(0.0);
        /// Weight of the errors of encoders and decoders: the mean squared error over the variance of what is to be
        /// predicted, summed over sites.
        error: f64 = 1.0 => at_least(0.0);
        /// Weight of KL(dense || mixed) of passes that begin in the dense model and end in the sparse one, summed over the
        /// sites where they change.
        to_sparse: f64 = 1.0 => at_least(0.0);
        /// Weight of KL(dense || mixed) of passes that begin in the sparse model and end in the dense one, summed over the
        /// sites where they change.
        to_dense: f64 = 1.0 => at_least(0.0);
    }

    /// Options of a fit of bridges.
    pub struct BridgeOptions {
        /// A map of `weights` (0.05), `annealed` (0.5), `falls` ("factors") and `least` (4): the weights of the sparse model that
        /// stay after each step, as in `model::train`.
        sparse: SparseOptions = SparseOptions::default();
        /// Number of channels that an encoder predicts at a token, the largest by size.
        active: Option<usize> = None => usually("a quarter of the sparse model's width").at_least(1.0);
        /// Number of steps.
        steps: u64 = 400;
        /// Number of rows of the text, which are read again in each epoch.
        rows: usize = 512 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("64, or the model's where that is shorter").at_least(2.0);
        /// Rows of text in a step.
        batch: usize = 8 => at_least(1.0);
        /// Peak learning rate.
        lr: f64 = 1e-3 => above(0.0);
        /// Learning rate schedule, behind a warmup of a fiftieth of the steps.
        schedule: ScheduleShape = ScheduleShape::Cosine;
        /// Weight decay, of matrices of the sparse model only.
        weight_decay: f64 = 0.1 => at_least(0.0);
        /// Maximum gradient norm, over all weights together.
        clip: f64 = 1.0 => above(0.0);
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with loss: BridgeLoss;
    }
}

impl BridgeOptions {
    /// Returns the optimizer, with the betas of `model::train`.
    pub(super) fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule: shape, clip, .. } = *self;
        let schedule = Schedule { shape, warmup: steps / 50, decay: steps / 5, floor: 0.0 };
        Optimizer { betas: [0.9, 0.95], ..Optimizer::usual(steps, lr, schedule, Some(clip)) }
    }

    /// Writes all options, and the seed of the draws.
    pub(super) fn json(&self) -> serde_json::Value {
        self.recorded(self.seed.draws()).into()
    }
}
