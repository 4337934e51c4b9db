//! The recipe by which a benchmark fits a dictionary.

use microtome::options::Plain;
use microtome::sae::fit::{AuxK, Dead, EncoderProducts, ErrorNormalisation, Recipe, kinds};
use microtome::training::{Schedule, ScheduleShape};

use super::{D, K, ROWS};

/// The recipe of a kind; `share`: how many codes there are, where the kind does not say.
pub fn recipe(kind: &str, share: f64, seed: u64) -> Recipe {
    let from = tail(share);
    let options = match kind {
        "topk" | "batch_topk" => vec![("k", Plain::Integer(K as i64))],
        "jumprelu" => vec![("l0", Plain::Float(1e-6)), ("threshold", Plain::Float(from))],
        _ => vec![("l1", Plain::Float(1e-6))],
    };
    let kind = kinds::kind(kind, &options).unwrap();
    Recipe {
        unit: !kind.properties().is_tied,
        kind,
        d_sae: 0,
        steps: 1000,
        batch: ROWS,
        lr: 1e-6,
        schedule: Schedule { shape: ScheduleShape::Constant, warmup: 0, decay: 0, floor: 0.0 },
        betas: [0.9, 0.999],
        eps: 1e-8,
        clip: Some(1.0),
        sparsity_warmup: 0,
        counting: ErrorNormalisation::Sum,
        dead: Dead::AuxK(AuxK { k: D / 2, weight: 1.0 / 32.0, most: usize::MAX }),
        dead_after: 10_000_000,
        scaled: false,
        compute: EncoderProducts::F32,
        skip: false,
        follows: 0.999,
        seed,
    }
}

/// The quantile above which this share of a standard normal distribution lies, by bisection on its tail.
pub fn tail(share: f64) -> f64 {
    const STEPS: usize = 4000;
    let above = |from: f64| {
        let width = (10.0 - from) / STEPS as f64;
        let density = |i: usize| (-(from + (i as f64 + 0.5) * width).powi(2) / 2.0).exp();
        (0..STEPS).map(density).sum::<f64>() * width / (2.0 * std::f64::consts::PI).sqrt()
    };
    let mut low = -8.0;
    let mut high = 8.0;
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if above(middle) > share { low = middle } else { high = middle }
    }
    low
}
