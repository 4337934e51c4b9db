//! What a penalty counts where a number of codes is asked for: it rises while rows have more codes, and falls while they
//! have fewer.

use serde::{Deserialize, Serialize};

/// How much of each step's distance the price remembers, and how much it feels at once. A penalty works through weights
/// that move by the learning rate a step, so that what is remembered must be little, or the number of codes swings.
const REMEMBERED: f64 = 0.05;
const FELT: f64 = 2.0;
/// The same for thresholds, which the number of codes answers at once.
const MOVED: f64 = 0.1;
/// The largest distance that one step tells, in logarithms.
const FARTHEST: f64 = 1.0;

/// A factor of a penalty that follows the number of codes: a controller with a proportional and an integral part, on the
/// logarithm of that number over its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// The logarithm of the factor without what is felt at once.
    remembered: f64,
    distance: f64,
}

impl Price {
    /// One that begins at a factor above 0.
    pub fn from(factor: f64) -> Self {
        Self { remembered: factor.max(f64::MIN_POSITIVE).ln(), distance: 0.0 }
    }

    pub fn factor(self) -> f64 {
        (self.remembered + FELT * self.distance).exp()
    }

    /// Hears how many codes a row had in a step.
    pub fn hear(&mut self, l0: f64, target: f64) {
        self.distance = distance(l0, target);
        self.remembered += REMEMBERED * self.distance;
    }
}

/// How far a number of codes is from its target, as a logarithm.
fn distance(l0: f64, target: f64) -> f64 {
    // Half a code, so that none at all is a number, too.
    ((l0 + 0.5) / (target + 0.5)).ln().clamp(-FARTHEST, FARTHEST)
}

/// By what thresholds are multiplied after a step with so many codes.
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
        // The logarithm of their number moves by a hundredth a step to where the price wants it.
        let (mut price, mut log): (Price, f64) = (Price::from(1.0), 400f64.ln());
        for _ in 0..600 {
            price.hear(log.exp(), 32.0);
            log -= (0.02 * (price.factor().ln() - 3.0)).clamp(-0.02, 0.02);
        }
        assert!((log.exp() / 32.0 - 1.0).abs() < 0.02, "{}", log.exp());
    }
}
