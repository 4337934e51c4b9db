//! The model inside the binary: `tiny`, trained by scripts/train_tiny.rhai; docs/tiny-model.md says on what.

use super::folder::of_config;
use super::{LoadSettings, LoadedModel};
use crate::base::{Result, Task, json};
use crate::err;
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tokenizer::Tokenizer;

/// Name of the model in scripts.
pub const NAME: &str = "tiny";

/// Weights in half precision.
const WEIGHTS: &[u8] = include_bytes!("../../../assets/tiny/model.safetensors");
const CONFIG: &str = include_str!("../../../assets/tiny/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../../assets/tiny/tokenizer.json");

pub fn embedded(loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    loading.expect_no_config()?;
    let config_json = json::read(CONFIG.as_bytes(), |e| err!(Bug, "the config of the model inside: {e}"))?;
    let loaded = of_config(
        config_json,
        &EmbeddedSource(SafetensorsFile::new(WEIGHTS)?),
        "the config inside",
        NAME,
        loading,
        task,
    )?;
    Ok(LoadedModel { tokenizer: Some(Tokenizer::from_json(TOKENIZER)?), ..loaded })
}

struct EmbeddedSource(SafetensorsFile<&'static [u8]>);

impl TensorSource for EmbeddedSource {
    fn names(&self) -> Vec<String> {
        self.0.names().map(String::from).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.shape(name)?.to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.0.tensor(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_inside_is_small() {
        assert!(WEIGHTS.len() + TOKENIZER.len() + CONFIG.len() < 12_000_000);
    }
}
