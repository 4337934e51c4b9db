//! The options of a fit of a decomposition.

use super::gates::GateKind;
use super::loss::LossOptions;
use super::parts::PartsShape;
use crate::base::random::{OF_CALL, Seed};
use crate::options::OptionGroup;
use crate::training::{Optimizer, Schedule, ScheduleShape};

crate::options! {
    /// Options of a decomposition. The defaults are those of the authors' runs on toy models of superposition.
    pub struct FitOptions {
        /// Number of parts of each matrix, more than are expected.
        parts: usize = 20 => at_least(1.0);
        /// The network that predicts causal importances: one for each part, which reads V^T x ("mlp") or all that the matrix
        /// reads ("vector"), or one for all parts of a matrix ("shared").
        gate: GateKind = GateKind::Mlp;
        /// Width of the hidden layer of these networks.
        gate_width: usize = 16 => at_least(1.0);
        /// Number of steps.
        steps: u64 = 10_000;
        /// Peak learning rate.
        lr: f64 = 1e-3 => above(0.0);
        /// Learning rate schedule.
        schedule: ScheduleShape = ScheduleShape::Cosine;
        /// The final learning rate, as a share of the peak.
        lr_end: f64 = 0.0 => at_least(0.0).at_most(1.0);
        /// Maximum gradient norm, over all numbers together.
        clip: Option<f64> = None => usually("none").above(0.0);
        /// Steps before the others, in which the parts approach the matrices and nothing else.
        faithful_steps: u64 = 200;
        /// Learning rate of these steps.
        faithful_lr: f64 = 0.01 => above(0.0);
        /// Weight decay in these steps, which makes parts small that are not needed.
        faithful_decay: f64 = 0.1 => at_least(0.0);
        /// The seed of this call.
        seed: Seed = Seed::default() => usually(OF_CALL);
        with loss: LossOptions;
    }
}

impl FitOptions {
    pub(super) fn shape(&self) -> PartsShape {
        PartsShape { parts: self.parts, gate: self.gate, width: self.gate_width }
    }

    pub(super) fn optimizer(&self) -> Optimizer {
        let Self { steps, lr, schedule: shape, lr_end: floor, clip, .. } = *self;
        Optimizer::usual(steps, lr, Schedule { shape, warmup: 0, decay: steps / 5, floor }, clip)
    }

    /// Writes all options, and the seed of the draws.
    pub fn json(&self) -> serde_json::Value {
        self.recorded(self.seed.draws()).into()
    }
}
