//! Floor 2: models. Configs of families, weights and where they come from, tokenizers, sites, hooks, one decoder.

pub mod batch;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod family;
pub mod formats;
pub mod generate;
pub mod grads;
pub mod hooks;
pub mod hub;
pub mod init;
pub mod layout;
pub mod load;
pub mod predict;
pub mod reading;
pub mod run;
pub mod save;
pub mod site;
pub mod tokenizer;
pub mod tokens;
pub mod weights;

use std::path::Path;
use std::sync::Arc;

use crate::base::files::Files;
use crate::base::{Result, Task};
use decoder::Decoder;
use tokenizer::Tokenizer;

/// A model at hand.
#[derive(Debug, Clone)]
pub struct Model {
    pub decoder: Arc<Decoder>,
    /// None for models of plain ids.
    pub tokenizer: Option<Tokenizer>,
    /// Where it comes from: a path, `org/name@commit`, or `init` and a seed.
    pub origin: String,
    /// How its files were, where it was loaded, so that it is saved the same way.
    pub published: Option<Arc<load::Published>>,
}

impl Model {
    /// Writes config, weights and tokenizer into a folder, in the way that the model was published.
    pub fn save(&self, files: &Files, folder: &Path, task: &Task) -> Result<()> {
        let (config, weights) = (self.decoder.config(), self.decoder.weights());
        save::save(files, folder, config, weights, self.published.as_deref(), task)?;
        if let Some(tokenizer) = &self.tokenizer {
            tokenizer.save(files, folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
