//! Parts of answers that were computed when an explorer was exported, as files: in a page they would take minutes.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::state::Explorer;
use crate::base::files::Files;
use crate::base::{Result, json};
use crate::err;

/// A part that is read when it is needed.
#[derive(Clone)]
pub struct KeptPart {
    files: Files,
    path: PathBuf,
}

impl KeptPart {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let wrong = |e: serde_json::Error| err!(Format, "expected what an export has kept, found another text: {e}");
        json::read_content(&self.files.bytes(&self.path)?, wrong).map_err(|e| e.within(self.path.display()))
    }
}

impl Explorer {
    /// Returns the part of this name, if the explorer was exported with it.
    pub fn kept(&self, name: &str) -> Result<Option<KeptPart>> {
        let Some(path) = self.kept_in.as_ref().map(|folder| folder.join(name)) else { return Ok(None) };
        Ok(self.files.has(&path)?.then(|| KeptPart { files: self.files.clone(), path }))
    }
}
