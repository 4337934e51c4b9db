//! The manifest of a store: its provenance, shards, and progress.

use serde::{Deserialize, Serialize};

use super::made::Made;
use crate::base::json;
use crate::common::*;
use crate::data::harvest::Progress;

/// The name of the manifest in the folder.
pub const MANIFEST: &str = "manifest.json";

/// The kind of file.
const KIND: &str = "microtome activations, 1";

/// A file of activations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub rows: usize,
    /// The length of the file in bytes.
    pub bytes: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    kind: String,
    pub made: Made,
    /// Whether the harvest is complete.
    pub complete: bool,
    pub shards: Vec<Listed>,
    /// The progress at the end of the listed shards.
    pub progress: Progress,
}

/// Returns the name of a shard's file.
pub fn shard_name(number: usize) -> String {
    format!("shard-{number:05}.safetensors")
}

impl Manifest {
    pub fn new(made: Made) -> Self {
        let progress = Progress::new(&made.widths());
        Self { kind: KIND.into(), made, complete: false, shards: Vec::new(), progress }
    }

    pub fn read(files: &Files, path: &Path) -> Result<Self> {
        let text = files.text(path)?;
        Self::parsed(&text).map_err(|e| e.within(path.display()))
    }

    /// Refuses an inconsistent manifest: sums of rows, widths, names.
    pub fn parsed(text: &str) -> Result<Self> {
        let wrong = |e| err!(Format, "expected the manifest of a store of activations: {e}");
        let kind: serde_json::Value = json::read_content(text.as_bytes(), wrong)?;
        if kind.get("kind").and_then(|kind| kind.as_str()) != Some(KIND) {
            return Err(err!(Format, "expected a store of activations (`{KIND}`), found another file"));
        }
        let found: Self = json::read_content(text.as_bytes(), |e| err!(Format, "the manifest is not valid: {e}"))?;
        found.dtype()?;
        let rows = found.shards.iter().try_fold(0_u64, |sum, shard| sum.checked_add(shard.rows as u64));
        if rows != Some(found.progress.kept) || found.shards.iter().any(|shard| shard.rows == 0) {
            bail!(Format, "expected shards of {} rows in total, found {rows:?}", found.progress.kept);
        }
        let widths: Vec<usize> = found.progress.statistics.iter().map(|moments| moments.mean.len()).collect();
        if widths != found.made.widths() || widths.is_empty() || widths.contains(&0) {
            bail!(Format, "expected statistics of the widths {:?}, found {widths:?}", found.made.widths());
        }
        Ok(found)
    }

    pub fn dtype(&self) -> Result<DType> {
        let known = super::numbers::DTYPES;
        let found = known.into_iter().find(|dtype| dtype.as_str() == self.made.dtype);
        found.ok_or_else(|| {
            err!(Format, "expected the dtype of a store, found `{}`", self.made.dtype)
                .maybe_hint(names::suggestion(&self.made.dtype, known.iter().map(DType::as_str)))
        })
    }

    /// Returns the content of the manifest's file.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|e| err!(Bug, "a manifest that cannot be written: {e}"))?;
        Ok(text + "\n")
    }
}
