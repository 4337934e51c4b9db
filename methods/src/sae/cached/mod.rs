//! The cache of what fits make, dictionaries of rows and of texts and transcoders of all layers: each is stored under a
//! hash of everything that its numbers depend on, so that it is not fitted twice.
//!
//! Each has its own folder, named by its key: processes that fit different dictionaries at the same time never wait for
//! each other, and of two that fit the same one either may write it, since both would write the same bytes.

mod call;
mod file;
mod key;
mod listed;
#[cfg(test)]
mod tests;
mod transcoders;

use std::path::{Path, PathBuf};

pub use call::CallCache;
pub use key::{FitKey, ReadingKey, RowOrder};
pub use listed::{COLUMNS, CachedDictionary, listed};

use super::fit::{FitHistory, FitProduct, FitResult};
use crate::base::access::Access;
use crate::base::files::{self, Files};
use crate::base::{Result, Task};
use crate::tensor::files::NamedTensors;
use file::CachedFile;

/// The file of a dictionary in its folder.
const FILE: &str = "kept.dictionary";

/// The dictionaries of a cache folder.
pub struct DictionaryCache {
    files: Files,
    folder: PathBuf,
}

/// Returns the folder of dictionaries in the cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("dictionaries")
}

impl DictionaryCache {
    /// Opens the dictionaries of a cache folder; None if the rules of a run deny to read or to write there. What is
    /// read and written there is neither input nor output of the run: a cached dictionary is the one that would be
    /// fitted.
    pub fn open(cache: &Path, access: &Access) -> Result<Option<Self>> {
        let access = access.within(&folder(cache))?;
        let folder = access.out().to_path_buf();
        let may = access.to_read(&folder).and_then(|_| access.to_write(&folder)).is_ok();
        Ok(may.then(|| Self { files: Files::new(access, false), folder }))
    }

    /// Reads what is cached under a key, if anything; an error if it is damaged.
    pub fn find(&self, key: &FitKey, task: &Task) -> Result<Option<FitResult>> {
        self.read(key, |cached| file::product(cached, key, task))
    }

    /// Reads the tensors and the metadata that are cached under a key, if there are some; an error if they are damaged.
    pub fn find_tensors(&self, key: &FitKey) -> Result<Option<NamedTensors>> {
        self.read(key, |cached| cached.all())
    }

    fn read<T>(&self, key: &FitKey, read: impl FnOnce(&CachedFile) -> Result<T>) -> Result<Option<T>> {
        let place = self.place(key);
        if !place.exists() {
            return Ok(None);
        }
        let bytes = self.files.map(&place)?;
        let found = read(&file::opened(&bytes, key)?)?;
        // A read-only cache is useful, too; the time of use is then not recorded.
        let _only_read = files::mark_used(&place);
        Ok(Some(found))
    }

    /// Caches what a fit made, in the place of what has the same key.
    pub fn put(&self, key: &FitKey, made: &FitProduct, history: &FitHistory) -> Result<()> {
        self.put_tensors(key, file::tensors(made, history)?)
    }

    /// Caches tensors and metadata, in the place of what has the same key.
    pub fn put_tensors(&self, key: &FitKey, named: NamedTensors) -> Result<()> {
        let named = file::marked(named, key);
        let saved = self.files.save(&self.place(key), |w| file::write(&named, w));
        // The run goes on for long, and needs the folder no more.
        self.files.release();
        saved.map(|_| ())
    }

    fn place(&self, key: &FitKey) -> PathBuf {
        self.folder.join(key.hash()).join(FILE)
    }
}
