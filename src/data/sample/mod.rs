//! Text that a model generates: sampled in batches, stored, and compared with its training text.

mod asset;
mod draw;
mod overlap;
mod passages;
mod stored;

#[cfg(test)]
mod tests;

pub use asset::{Asset, read_asset, write_asset};
pub use draw::{Sampler, fingerprint, sample};
pub use overlap::{Run, longest_common_run};
pub use passages::Passages;
pub use stored::stored;

use crate::bail;
use crate::base::Result;

/// Sampling settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub seed: u64,
    /// The temperature; above 0.
    pub temperature: f64,
    /// Top-k sampling: this many most likely tokens.
    pub top_k: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 0, temperature: 0.85, top_k: 200 }
    }
}

impl Settings {
    fn checked(self) -> Result<Self> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            bail!(Argument, "expected a temperature above 0, found {}", self.temperature);
        }
        if self.top_k == 0 {
            bail!(Argument, "expected at least one token to draw from for `top_k`, found 0");
        }
        Ok(self)
    }
}
