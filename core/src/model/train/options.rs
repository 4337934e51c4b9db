//! The options of a model's training, and the recipe that they make.

use super::added::AddedVectors;
use super::lora::LoraOptions;
use super::recipe::Recipe;
use super::sparse::SparseOptions;
use crate::options::seed::SeedOptions;
use crate::training::{CheckpointOptions, Schedule, ScheduleShape};

/// The default number of rows of a forward and backward pass.
const USUAL_ROWS: usize = 32;

crate::options! {
    pub struct TrainOptions {
        /// Number of updates.
        steps: usize = 1000 => at_least(1.0);
        /// Rows of a forward and backward pass; a batch of all rows has them in their own order.
        batch: Option<usize> = None => usually("32, or all rows if there are fewer").at_least(1.0);
        /// Tokens in a row of a text.
        context: Option<usize> = None => usually("the model's");
        /// Gradient accumulation: passes in a step.
        accumulate: usize = 1 => at_least(1.0);
        /// Peak learning rate.
        lr: f64 = 1e-3 => above(0.0);
        /// Learning rate schedule.
        schedule: ScheduleShape = ScheduleShape::Cosine;
        /// Steps of learning rate warm-up.
        warmup: Option<usize> = None => usually("a fiftieth of the steps");
        /// Steps on which the learning rate of "trapezoid" decays.
        decay: Option<usize> = None => usually("a fifth of the steps");
        /// The final learning rate, as a share of the peak.
        floor: f64 = 0.0 => at_least(0.0).at_most(1.0);
        /// Decay rates of Adam's moments.
        betas: [f64; 2] = [0.9, 0.95];
        /// Adam's epsilon.
        eps: f64 = 1e-8 => above(0.0);
        /// Weight decay, of matrices only.
        weight_decay: f64 = 0.1 => at_least(0.0);
        /// Maximum gradient norm, or () for no clipping.
        clip: Option<f64> = Some(1.0) => above(0.0);
        /// Dropout probability, on embeddings and on the outputs of attention and MLP.
        dropout: f64 = 0.0 => at_least(0.0);
        /// Factor of the sum of the sizes of all neurons at a token, which is added to the loss (L1).
        neuron_l1: f64 = 0.0 => at_least(0.0);
        /// Steps between evaluations on held-out data.
        held_every: Option<usize> = None => usually("a twentieth of the steps");
        /// Maximum number of rows in an evaluation.
        held_rows: usize = 64;
        /// A map of `rank` (8), `alpha` (the rank), `rslora` (false) and `modules`: trains low-rank matrices beside the
        /// weights of a model (LoRA), in place of the weights.
        lora: Option<LoraOptions> = None;
        /// A map of `weights` (0.05), `annealed` (0.5), `falls` ("factors") and `least` (4): after each step only the largest
        /// weights of each matrix stay, in the end that share of them, and the others are 0 (Gao et al. 2025).
        sparse: Option<SparseOptions> = None;
        /// Vectors by site, added at all positions in training alone: `#{ "resid_post.2": v }`. What they bring about need not
        /// be learned (preventative steering; Chen et al. 2025). Evaluations on held-out data are without them.
        added: AddedVectors = AddedVectors::default() => usually("none");
        with seed: SeedOptions;
        with checkpoints: CheckpointOptions;
    }
}

impl TrainOptions {
    /// Returns the number of rows of a pass; `there` is how many rows there are, unless they are endless.
    pub fn rows(&self, there: Option<usize>) -> usize {
        self.batch.unwrap_or(USUAL_ROWS.min(there.unwrap_or(usize::MAX)))
    }

    /// Returns the number of steps between evaluations.
    pub fn evaluated_every(&self) -> u64 {
        self.held_every.unwrap_or(self.steps / 20) as u64
    }

    pub fn recipe(&self, rows: usize, seed: u64) -> Recipe {
        Recipe {
            steps: self.steps as u64,
            rows,
            accumulate: self.accumulate,
            lr: self.lr,
            schedule: Schedule {
                shape: self.schedule,
                warmup: self.warmup.unwrap_or(self.steps / 50) as u64,
                decay: self.decay.unwrap_or(self.steps / 5) as u64,
                floor: self.floor,
            },
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            clip: self.clip,
            dropout: self.dropout,
            neuron_l1: self.neuron_l1,
            lora: self.lora.clone(),
            sparse: self.sparse.clone(),
            added: self.added.clone(),
            seed,
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        TrainOptions::default().recipe(USUAL_ROWS, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_has_no_more_rows_than_there_are() {
        assert_eq!(TrainOptions::default().rows(Some(3)), 3);
        assert_eq!(TrainOptions::default().rows(None), USUAL_ROWS);
    }
}
