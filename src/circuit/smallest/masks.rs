//! Masks on all units that are optimised together: how much of each unit is kept, between 0 and 1, at a price.
//!
//! The sum of the masks is minimised subject to m(k) >= share of m, by Adam on k - multiplier m(k) / m, with masks held
//! between 0 and 1. All begin at 1 and sink together, so that what counts once others are missing is noticed while these go.
//! The multiplier, what all of m is worth in units, rises while less than the share is kept, and falls while more is.

use super::Search;
use super::ranks::ascending;
use crate::base::{Result, Task};
use crate::circuit::Ablations;

/// What all of m is worth at the beginning, as a share of all units.
const WORTH: f64 = 0.1;

/// How fast the multiplier follows what is kept.
const FOLLOWS: f64 = 0.5;

impl Search<'_> {
    /// Units in the order of their masks, the largest first, after a descent for one share.
    pub fn masked(&self, share: f64, task: &Task) -> Result<Vec<usize>> {
        let count = self.ablations.units();
        let mut masks = vec![1.0_f64; count];
        let mut moments = vec![[0.0_f64; 2]; count];
        let mut multiplier = count as f64 * WORTH;
        let bar = task.begin("optimising masks", Some(self.options.steps as u64));
        for step in 1..=self.options.steps {
            task.check()?;
            let kept: Vec<f32> = masks.iter().map(|mask| *mask as f32).collect();
            let slopes = self.ablations.slopes(&kept, task)?;
            let found = slopes.sum / self.whole;
            for ((mask, moments), slope) in masks.iter_mut().zip(&mut moments).zip(&slopes.signed) {
                let slope = 1.0 - multiplier * slope / self.whole;
                *mask = (*mask - self.options.lr * adam(moments, slope, step)).clamp(0.0, 1.0);
            }
            multiplier = (multiplier * (FOLLOWS * (share - found)).exp()).clamp(1.0, 1e3 * count as f64);
            bar.advance(1);
            bar.note(&format!("masks of {:.0} in all keep {found:.3}", masks.iter().sum::<f64>()));
        }
        Ok(ascending(&masks.iter().map(|mask| -mask).collect::<Vec<_>>()))
    }
}

/// A step of Adam, in units of the learning rate.
fn adam(moments: &mut [f64; 2], slope: f64, step: usize) -> f64 {
    let [b1, b2]: [f64; 2] = [0.9, 0.99];
    moments[0] = b1 * moments[0] + (1.0 - b1) * slope;
    moments[1] = b2 * moments[1] + (1.0 - b2) * slope * slope;
    let at = |beta: f64| 1.0 - beta.powi(step as i32);
    moments[0] / at(b1) / ((moments[1] / at(b2)).sqrt() + 1e-8)
}
