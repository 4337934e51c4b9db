//! The options of a fit of transcoder adapters.

use crate::base::random::{OF_CALL, Seed};
use crate::options::OptionGroup;
use crate::training::{Optimizer, Schedule, ScheduleShape};

crate::options! {
    /// The loss of transcoder adapters: KL + bridge (KL of mixed passes) + streams (error of the residual stream) + l1 (size of
    /// codes). The defaults are those of the authors' runs.
    pub struct AdapterLoss {
        /// Weight of the L1 penalty: the sum over layers of the mean over tokens of the sum of codes, each times the norm of
        /// its direction.
        l1: f64 = 1e-3 => at_least(0.0);
        /// Weight of KL(tuned || mixed), where the first layers are the tuned model's and the others adapted, and the
        /// other way round. The layer between them is drawn for each step.
        bridge: f64 = 2.0 => at_least(0.0);
        /// Weight of the squared error of the residual stream relative to its mean square, averaged over the embedding and
        /// all layers.
        streams: f64 = 1.0 => at_least(0.0);
    }

    /// Options of a fit of transcoder adapters.
    pub struct AdapterOptions {
        /// Number of features of each adapter.
        features: Option<usize> = None => usually("four times the model's width").at_least(1.0);
        /// Number of steps.
        steps: u64 = 400;
        /// Number of rows of the text, which are read again in each epoch.
        rows: usize = 512 => at_least(1.0);
        /// Tokens in a row.
        context: Option<usize> = None => usually("64, or the model's where that is shorter").at_least(2.0);
        /// Rows of text in a step.
        batch: usize = 8 => at_least(1.0);
        /// Peak learning rate.
        lr: f64 = 8e-4 => above(0.0);
        /// Learning rate schedule, behind a warmup of a twentieth of the steps.
        schedule: ScheduleShape = ScheduleShape::Linear;
        /// Maximum gradient norm, over all weights together.
        clip: f64 = 1.0 => above(0.0);
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with loss: AdapterLoss;
    }
}

impl AdapterOptions {
    pub(super) fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule: shape, clip, .. } = *self;
        Optimizer::usual(steps, lr, Schedule { shape, warmup: steps / 20, decay: steps / 5, floor: 0.0 }, Some(clip))
    }

    /// Writes all options, and the seed of the draws.
    pub(super) fn json(&self) -> serde_json::Value {
        self.recorded(self.seed.draws()).into()
    }
}
