//! Saving dictionaries as other libraries load them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Sae;
use super::formats::{self, Format};
use crate::base::Result;
use crate::base::files::Files;
use crate::err;
use crate::tensor::files::{Named, safetensors};

impl Sae {
    /// Writes the tensors and the config of a dictionary into a folder, each whole or not at all; gives back their
    /// places. A dictionary that the format has no architecture for is refused by name.
    pub fn save(&self, files: &Files, folder: &Path, format: Format) -> Result<Vec<PathBuf>> {
        let written = formats::write(format, self.parts())?;
        let (name, tensors) = written.tensors;
        // Other programs ask for this before they read the file.
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let named = Named { tensors, metadata };
        let tensors = files.save(&folder.join(name), |file| safetensors::write(&named, file))?;
        let (name, config) = written.config;
        let text = serde_json::to_string_pretty(&config).map_err(|e| err!(Bug, "a config became no JSON: {e}"))?;
        Ok(vec![tensors, files.save_whole(&folder.join(name), text + "\n")?])
    }
}
