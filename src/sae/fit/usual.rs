//! The defaults of a fit.
//!
//! They beat those of other libraries at equal steps on activations of several sites and models:
//! docs/benchmarks-quality.md has the table, and `cargo bench --bench quality` makes it again.

use std::sync::Arc;

use super::kinds::Kind;
use super::recipe::{Counting, Dead, Recipe, Shape, follows};
use crate::training::{Schedule, ScheduleShape};

impl Recipe {
    /// For this many rows in an epoch, and this many steps.
    pub fn usual(
        kind: Arc<dyn Kind>,
        counting: Option<Counting>,
        shape: Shape,
        rows: usize,
        steps: u64,
        batch: usize,
        seed: u64,
    ) -> Self {
        let is_tied = kind.is_tied();
        let counting = counting.unwrap_or(if is_tied { Counting::Mean } else { Counting::Normalised });
        let k_aux = (shape.d_in / 2).clamp(1, shape.d_sae.max(1));
        Self {
            unit: kind.likes_unit(),
            steps,
            batch,
            lr: RATE,
            schedule: Schedule { shape: ScheduleShape::Trapezoid, warmup: steps / 50, decay: steps / 5, floor: 0.0 },
            betas: BETAS,
            eps: 1e-8,
            // A sum over dimensions has gradients as many times as long.
            clip: Some(if counting == Counting::Sum { CLIP * shape.d_out as f64 } else { CLIP }),
            sparsity_warmup: 0,
            counting,
            // Gao et al. 2024, section A.2; a tied dictionary is as Cunningham et al. 2023 have it.
            dead: if is_tied { Dead::Leave } else { Dead::AuxK { k: k_aux, weight: 1.0 / 32.0 } },
            // Gao et al. 2024 wait for 10 million tokens; a quarter of an epoch where there are fewer.
            dead_after: (rows / 4).clamp(1, 10_000_000) as u64,
            scaled: true,
            skip: false,
            follows: follows(steps),
            seed,
            kind,
        }
    }
}

/// Peak learning rate, for activations of mean square 1.
const RATE: f64 = 6e-3;
/// Decay rates of Adam's moments.
const BETAS: [f64; 2] = [0.9, 0.99];
/// Maximum gradient norm. The normalised error nearly always has a larger gradient, so that every step has the same
/// weight in Adam's second moment; the large ones of the first steps would stay in it for hundreds of steps, and slow
/// the training.
const CLIP: f64 = 0.01;
