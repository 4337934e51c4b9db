//! Masks on all units that are optimised together: how much of each unit is kept, between 0 and 1, with a sparsity
//! penalty.
//!
//! The sum of the masks is minimised subject to m(k) >= share of m, by Adam on k - multiplier m(k) / m, with masks held
//! between 0 and 1. All begin at 1 and fall together, so that a unit that counts once others are missing is noticed
//! while these are removed. The multiplier, what all of m is worth in units, rises while less than the share is kept,
//! and falls while more is.

use super::MinimalSearch;
use crate::base::order::ascending;
use crate::circuit::Ablations;
use crate::common::*;
use crate::tensor::derivative::ValueAndGradients;
use crate::training::descent::{Descent, DescentOptions, DescentRule, ParameterRanges};

/// The initial multiplier, as a share of the number of units.
const WORTH: f64 = 0.1;

/// The speed at which the multiplier follows what is kept.
const FOLLOWS: f64 = 0.5;

const ADAM: DescentRule = DescentRule::Adam { betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.0 };

impl MinimalSearch<'_> {
    /// Returns the units in the order of their masks, the largest first, after a descent for one share.
    pub fn masked(&self, share: f64, task: &Task) -> Result<Vec<usize>> {
        let count = self.ablations.units();
        let begun = vec![("masks".to_string(), Tensor::ones(count, DType::F64, &Device::Cpu)?)];
        let bounded = ParameterRanges::All([0.0, 1.0]);
        let options = DescentOptions { lr: self.options.lr, range: bounded, ..DescentOptions::default() };
        let mut descent = Descent::new(ADAM, begun, options)?;
        let masks = |descent: &Descent| -> Result<Vec<f64>> {
            let all = descent.parameters();
            floats(all.first().ok_or_else(|| err!(Bug, "a descent without masks"))?)
        };
        let mut multiplier = count as f64 * WORTH;
        let bar = task.begin("optimising masks", Some(self.options.steps as u64));
        for _ in 0..self.options.steps {
            task.check()?;
            let kept: Vec<f32> = masks(&descent)?.iter().map(|mask| *mask as f32).collect();
            let slopes = self.ablations.slopes(&kept, task)?;
            let found = slopes.sum / self.whole;
            let price = |slope: &f64| 1.0 - multiplier * slope / self.whole;
            let gradient = Tensor::from_vec(slopes.signed.iter().map(price).collect(), count, &Device::Cpu)?;
            descent.update(&ValueAndGradients { value: found, gradients: vec![gradient] })?;
            multiplier = (multiplier * (FOLLOWS * (share - found)).exp()).clamp(1.0, 1e3 * count as f64);
            bar.advance(1);
            let sum: f64 = masks(&descent)?.iter().sum();
            bar.note(&format!("masks of {sum:.0} in all keep {found:.3}"));
        }
        Ok(ascending(&masks(&descent)?.iter().map(|mask| -mask).collect::<Vec<_>>()))
    }
}
