//! The exports of Neuronpedia, which its database takes: a folder for each source, MODEL/LAYER-SET, with features,
//! activations and explanations as lines of JSON in compressed files, beside lines that say what the source is. Keys
//! are those of its tables; a feature's own numbers have the names that batch files have for them.

mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::common::*;

pub use read::{Export, explanations};
pub use write::{ExportFacts, MOST_LINES};

/// The user that a new database of Neuronpedia has, whose its own exports are, too.
pub const CREATOR: &str = "clkht01d40000jv08hvalcvly";

/// Folders of an export, below that of the source.
pub const FEATURES: &str = "features";
pub const ACTIVATIONS: &str = "activations";
pub const EXPLANATIONS: &str = "explanations";

/// An explanation of a feature in an export, with the names of the model that wrote it and of its method, where they
/// are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportedExplanation {
    pub feature: usize,
    pub text: String,
    pub by: Option<String>,
    pub method: Option<String>,
}

/// Names in the lines of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportNames {
    pub model_id: String,
    /// Name of the set of dictionaries, which that of the source has behind the layer.
    pub set: String,
    pub layer: i64,
    /// The user whose the lines are.
    pub creator: String,
}

impl ExportNames {
    /// Refuses names that are no parts of addresses.
    pub fn check(&self) -> Result<()> {
        let is_plain = |name: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !name.is_empty() && name.bytes().all(is_letter) && !name.bytes().all(|byte| byte == b'.')
        };
        for (option, name) in [("model_id", &self.model_id), ("sae_set", &self.set)] {
            if !is_plain(name) {
                let wanted = "letters, digits, -, _ and .";
                return Err(err!(Argument, "expected {wanted} for `{option}` of an export, found {name:?}")
                    .hint("it is a part of the addresses of pages, such as gpt2-small and res-jb")
                    .about(option));
            }
        }
        Ok(())
    }

    /// Returns the name of the source, such as `3-res-jb`.
    pub fn source(&self) -> String {
        format!("{}-{}", self.layer, self.set)
    }

    /// Returns the folder of the source, below that of all exports.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(&self.model_id).join(self.source())
    }

    /// Removes the files of a part that an earlier export had more of than this one, which has `count`: what is read
    /// would be of both.
    pub fn remove_later(&self, part: &str, count: usize, exports: &Path, files: &Files) -> Result<()> {
        let folder = files.access().to_write(&exports.join(self.folder()).join(part))?;
        for name in files.names(&folder) {
            let number = name.strip_prefix("batch-").and_then(|rest| rest.strip_suffix(".jsonl.gz"));
            if number.and_then(|number| number.parse::<usize>().ok()).is_some_and(|number| number >= count) {
                files.remove(&folder.join(name))?;
            }
        }
        Ok(())
    }
}
