//! The adaptive sparsity coefficient of a `target`: it rises while L0 is above the target, and falls while it is below.

use serde::{Deserialize, Serialize};

/// The integral and the proportional gain. A penalty acts through weights that move by the learning rate in a step, so
/// the integral gain must be small, or L0 oscillates.
const REMEMBERED: f64 = 0.05;
const FELT: f64 = 2.0;
/// The gain for thresholds, to which L0 responds at once.
const MOVED: f64 = 0.1;
/// The largest error of one step, in logarithms.
const FARTHEST: f64 = 1.0;

/// A factor on the penalty: a PI controller on the logarithm of L0 over its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// The integral part: the logarithm of the factor without the proportional part.
    remembered: f64,
    distance: f64,
}

impl Price {
    /// Builds the controller with a first factor above 0.
    pub fn from(factor: f64) -> Self {
        Self { remembered: factor.max(f64::MIN_POSITIVE).ln(), distance: 0.0 }
    }

    pub fn factor(self) -> f64 {
        (self.remembered + FELT * self.distance).exp()
    }

    /// Updates with the L0 of a step.
    pub fn hear(&mut self, l0: f64, target: f64) {
        self.distance = distance(l0, target);
        self.remembered += REMEMBERED * self.distance;
    }
}

/// Returns the log ratio of L0 to its target.
fn distance(l0: f64, target: f64) -> f64 {
    // Plus half a code, so that an L0 of 0 has a logarithm.
    ((l0 + 0.5) / (target + 0.5)).ln().clamp(-FARTHEST, FARTHEST)
}

/// Returns the factor on thresholds after a step with this L0.
pub fn moved(l0: f64, target: f64) -> f64 {
    (MOVED * distance(l0, target)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_with_too_many_codes_and_stays_with_enough() {
        let mut price = Price::from(0.5);
        assert_eq!(price.factor(), 0.5);
        price.hear(10.0, 10.0);
        assert_eq!(price.factor(), 0.5);
        price.hear(20.0, 10.0);
        let high = price.factor();
        assert!(high > 0.5);
        price.hear(0.0, 10.0);
        assert!(price.factor() < 0.5);
    }

    #[test]
    fn codes_that_answer_slowly_end_at_the_target() {
        // The logarithm of their number moves by a hundredth a step to where the sparsity coefficient wants it.
        let mut price = Price::from(1.0);
        let mut log = 400f64.ln();
        for _ in 0..600 {
            price.hear(log.exp(), 32.0);
            log -= (0.02 * (price.factor().ln() - 3.0)).clamp(-0.02, 0.02);
        }
        assert!((log.exp() / 32.0 - 1.0).abs() < 0.02, "{}", log.exp());
    }
}
