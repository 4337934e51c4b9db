//! The model inside the binary: `tiny`, trained by scripts/train_tiny.rhai; docs/tiny-model.md says on what. A page puts its
//! files where they are looked for, since it can hand them on compressed.

use super::folder::of_config;
use super::{LoadSettings, LoadedModel};
#[cfg(target_family = "wasm")]
use crate::base::disk;
use crate::common::*;
use crate::model::layout::TensorSource;
use crate::tensor::Tensor;
use crate::tensor::files::safetensors::SafetensorsFile;
use crate::tokenizer::Tokenizer;

/// Name of the model in scripts.
pub const NAME: &str = "tiny";

/// The files of the model.
struct ModelFiles {
    /// Weights in half precision.
    weights: &'static [u8],
    config: &'static [u8],
    tokenizer: &'static [u8],
}

#[cfg(not(target_family = "wasm"))]
fn files() -> Result<ModelFiles> {
    Ok(ModelFiles {
        weights: include_bytes!("../../../assets/tiny/model.safetensors"),
        config: include_bytes!("../../../assets/tiny/config.json"),
        tokenizer: include_bytes!("../../../assets/tiny/tokenizer.json"),
    })
}

#[cfg(target_family = "wasm")]
fn files() -> Result<ModelFiles> {
    Ok(ModelFiles {
        weights: disk::inside("model.safetensors")?,
        config: disk::inside("config.json")?,
        tokenizer: disk::inside("tokenizer.json")?,
    })
}

/// Lists the files of the model by the names under which a page takes them.
pub fn parts() -> Result<[(&'static str, &'static [u8]); 3]> {
    let files = files()?;
    Ok([("model.safetensors", files.weights), ("config.json", files.config), ("tokenizer.json", files.tokenizer)])
}

pub fn embedded(loading: &LoadSettings, task: &Task) -> Result<LoadedModel> {
    loading.expect_no_config()?;
    let files = files()?;
    let config_json = json::read(files.config, |e| err!(Bug, "the config of the model inside: {e}"))?;
    let loaded = of_config(
        config_json,
        &EmbeddedSource(SafetensorsFile::new(files.weights)?),
        "the config inside",
        NAME,
        loading,
        task,
    )?;
    Ok(LoadedModel { tokenizer: Some(Tokenizer::from_json(files.tokenizer)?), ..loaded })
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
        let files = files().unwrap();
        assert!(files.weights.len() + files.tokenizer.len() + files.config.len() < 12_000_000);
    }
}
