//! Hard concrete masks (Louizos et al. 2018): numbers in [0, 1] that are exactly 0 or 1 with some probability, and have
//! gradients.
//!
//!     s = sigmoid((log u - log(1 - u) + a) / B),  m = min(1, max(0, s (Z - G) + G)),  u uniform
//!     P(m > 0) = sigmoid(a - B log(-G / Z))

use rand::{Rng, RngExt};

use crate::common::*;
use crate::tensor::elementwise::sigmoid;

const B: f64 = 2.0 / 3.0;
const G: f64 = -0.1;
const Z: f64 = 1.1;

/// Returns log u - log(1 - u) for a random u.
pub fn noise(random: &mut impl Rng) -> f32 {
    let u: f64 = random.random_range(1e-6..1.0 - 1e-6);
    (u / (1.0 - u)).ln() as f32
}

/// Returns the masks of some parameters a with given noise.
pub fn drawn(a: &Tensor, noise: &Tensor) -> Result<Tensor> {
    let s = sigmoid(&((a + noise)? / B)?)?;
    Ok(s.affine(Z - G, G)?.clamp(0.0, 1.0)?)
}

/// Returns the probability that each mask is not 0.
pub fn remaining(a: &Tensor) -> Result<Tensor> {
    sigmoid(&(a - B * (-G / Z).ln())?)
}

/// Returns the parameter of a mask that is not 0 with a given probability.
pub fn parameter(remaining: f64) -> f64 {
    let remaining = remaining.clamp(1e-4, 1.0 - 1e-4);
    (remaining / (1.0 - remaining)).ln() + B * (-G / Z).ln()
}
