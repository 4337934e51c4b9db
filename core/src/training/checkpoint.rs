//! Checkpoints: all that a training needs to resume bit for bit, in one file that is written atomically.

use crate::base::disk::Mapping;
use crate::common::*;
use crate::tensor::files::{NamedTensors, safetensors};

crate::options! {
    /// Checkpoints of a training: their folder, and how often they are saved.
    pub struct CheckpointOptions {
        /// A folder for checkpoints, from which the training resumes.
        dir: Option<String> = None;
        /// Steps between checkpoints.
        every: usize = 1000;
        /// Whether to begin again, whatever an earlier run has saved.
        fresh: bool = false;
    }
}

impl CheckpointOptions {
    pub fn folder<'a>(&self, files: &'a Files) -> Option<CheckpointFolder<'a>> {
        let folder = PathBuf::from(self.dir.as_ref()?);
        Some(CheckpointFolder { files, folder, every: self.every as u64, fresh: self.fresh })
    }
}

/// The folder in which checkpoints are saved, and how often.
pub struct CheckpointFolder<'a> {
    pub files: &'a Files,
    pub folder: PathBuf,
    /// Steps between checkpoints.
    pub every: u64,
    /// Whether to begin again although a checkpoint is there.
    pub fresh: bool,
}

/// The file of one kind of training.
pub struct CheckpointFormat {
    /// The name of the file in its folder.
    pub file: &'static str,
    /// The kind of file, as its metadata has it.
    pub kind: &'static str,
    /// The training that the checkpoint is of: "a fit".
    pub of: &'static str,
}

/// A checkpoint that is read.
pub type CheckpointReader = safetensors::SafetensorsFile<Mapping>;

/// The checkpoints of a training that runs.
pub struct Checkpoints<'a> {
    at: CheckpointFolder<'a>,
    format: &'static CheckpointFormat,
    /// The step of the last checkpoint.
    saved: Option<u64>,
}

impl<'a> Checkpoints<'a> {
    /// Locks the folder: another training there is refused before either has made a step.
    pub fn open(at: CheckpointFolder<'a>, format: &'static CheckpointFormat) -> Result<Self> {
        let opened = Self { at, format, saved: None };
        let path = opened.path()?;
        opened.at.files.lock(path.parent().unwrap_or(Path::new("/")))?;
        Ok(opened)
    }

    pub fn folder(&self) -> &Path {
        &self.at.folder
    }

    /// Returns the path that the checkpoint is written to; it is read from there, too, even if there is a folder of
    /// that name elsewhere.
    fn path(&self) -> Result<PathBuf> {
        self.at.files.access().to_write(&self.at.folder.join(self.format.file))
    }

    /// Returns whether there is a checkpoint to resume.
    pub fn has_one(&self) -> Result<bool> {
        Ok(!self.at.fresh && self.at.files.has(&self.path()?)?)
    }

    /// Reads the checkpoint; `restore` returns its step.
    pub fn resume(&mut self, restore: impl FnOnce(&CheckpointReader) -> Result<u64>) -> Result<()> {
        let shown = self.at.folder.join(self.format.file);
        self.saved = Some(self.restored(restore).map_err(|e: Error| e.within(shown.display()))?);
        Ok(())
    }

    fn restored(&self, restore: impl FnOnce(&CheckpointReader) -> Result<u64>) -> Result<u64> {
        let file = self.at.files.map_as(&self.path()?, safetensors::SafetensorsFile::new)?;
        let CheckpointFormat { kind, of, .. } = self.format;
        if file.metadata().get("kind").is_none_or(|found| found != kind) {
            return Err(err!(Format, "expected a checkpoint of {of} (`{kind}`), found another file"));
        }
        restore(&file)
    }

    /// Returns whether a checkpoint is due after this step.
    pub fn is_due(&self, step: u64) -> bool {
        self.saved != Some(step) && step.is_multiple_of(self.at.every.max(1))
    }

    /// Saves the state after this step, unless that was done.
    pub fn save(&mut self, step: u64, state: impl FnOnce() -> Result<NamedTensors>) -> Result<()> {
        if self.saved == Some(step) {
            return Ok(());
        }
        let mut named = state()?;
        named.metadata.insert("kind".into(), self.format.kind.into());
        named.save(self.at.files, &self.path()?)?;
        self.saved = Some(step);
        Ok(())
    }
}

/// Adds to an error of a checkpoint of another training what can be done; `same` is "the same options".
pub fn with_way_out(error: Error, same: &str) -> Error {
    error.hint(format!("give {same} to resume, another `dir`, or `fresh: true` to begin again"))
}
