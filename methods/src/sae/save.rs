//! Saving dictionaries, in our own format or for other libraries.

use std::path::{Path, PathBuf};

use super::Sae;
use super::formats::{self, Format};
use crate::base::files::Files;
use crate::common::*;
use crate::tensor::files::NamedTensors;

impl Sae {
    /// Writes the tensors of a dictionary, and the config where the format has one, into a folder, each file
    /// atomically; returns their paths. A dictionary that the format has no architecture for is refused by name.
    pub fn save(&self, files: &Files, folder: &Path, format: Format) -> Result<Vec<PathBuf>> {
        let written = formats::write(format, self.parts())?;
        let (name, tensors) = written.tensors;
        let named = NamedTensors { tensors, metadata: written.metadata };
        let tensors = named.save(files, &folder.join(name))?;
        let Some((name, config)) = written.config else { return Ok(vec![tensors]) };
        let text = serde_json::to_string_pretty(&config).map_err(|e| err!(Bug, "a config became no JSON: {e}"))?;
        Ok(vec![tensors, files.save_whole(&folder.join(name), text + "\n")?])
    }
}
