//! Text that a model generates: sampled in batches, stored, and compared with its training text.

mod asset;
mod cached;
mod draw;
mod drawn;
mod in_memory;
mod overlap;
mod passages;
mod stored;

#[cfg(test)]
mod tests;

pub use asset::{Asset, read_asset, write_asset};
pub use cached::{COLUMNS, TextCache, TextKey, folder, listed};
pub use draw::{Sampler, machine, sample};
pub use drawn::{DrawOptions, SampledText, SharedRun};
pub use in_memory::SampledGroups;
pub use overlap::{CommonRun, longest_common_run};
pub use passages::{Passages, TextCaches};
pub use stored::{bytes as bytes_inside, stored};

pub use crate::model::fingerprint::fingerprint;

use crate::common::*;

crate::options! {
    /// Options of sampling the tokens of text.
    pub struct TextSamplingOptions {
        /// Sampling temperature.
        temperature: f64 = 0.85;
        /// The number of most likely tokens that are sampled from.
        top_k: usize = 200;
    }
}

impl TextSamplingOptions {
    pub fn settings(&self, seed: u64) -> Settings {
        Settings { seed, temperature: self.temperature, top_k: self.top_k }
    }
}

/// Returns the token that begins each row: the EOS token, or else the BOS token.
fn start_token(tokenizer: &Tokenizer) -> Result<u32> {
    let found = tokenizer.eos().or(tokenizer.bos());
    found.ok_or_else(|| err!(Argument, "expected a tokenizer with an EOS or BOS token to generate text, found none"))
}

/// Settings that sampled text depends on, besides its model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub seed: u64,
    /// The temperature; above 0.
    pub temperature: f64,
    /// Top-k sampling: the number of most likely tokens.
    pub top_k: usize,
}

impl Default for Settings {
    fn default() -> Self {
        TextSamplingOptions::default().settings(0)
    }
}

impl Settings {
    fn checked(self) -> Result<Self> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let found = self.temperature;
            return Err(err!(Argument, "expected a temperature above 0, found {found}").about("temperature"));
        }
        if self.top_k == 0 {
            return Err(err!(Argument, "expected at least one token to draw from for `top_k`, found 0").about("top_k"));
        }
        Ok(self)
    }
}
