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
pub use listed::{COLUMNS, listed};

use super::fit::{FitHistory, FitProduct, FitResult};
use crate::base::access::Access;
use crate::base::cache::CacheFolder;
use crate::base::{Result, Task};
use crate::tensor::files::NamedTensors;
use file::CachedFile;

/// The file of a dictionary in its folder.
const FILE: &str = "kept.dictionary";

/// The dictionaries of a cache folder.
pub struct DictionaryCache(CacheFolder);

/// Returns the folder of dictionaries in the cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("dictionaries")
}

impl DictionaryCache {
    /// Opens the dictionaries of a cache folder; None if the rules of a run deny to read or to write there.
    pub fn open(cache: &Path, access: &Access) -> Result<Option<Self>> {
        Ok(CacheFolder::open(&folder(cache), access)?.map(Self))
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
        self.0.find(&place, |files| read(&file::opened(&files.map(&place)?, key)?))
    }

    /// Caches what a fit made, in the place of what has the same key.
    pub fn put(&self, key: &FitKey, made: &FitProduct, history: &FitHistory) -> Result<()> {
        self.put_tensors(key, file::tensors(made, history)?)
    }

    /// Caches tensors and metadata, in the place of what has the same key.
    pub fn put_tensors(&self, key: &FitKey, named: NamedTensors) -> Result<()> {
        let named = file::marked(named, key);
        self.0.put(|files| files.save(&self.place(key), |w| file::write(&named, w)))
    }

    fn place(&self, key: &FitKey) -> PathBuf {
        self.0.folder.join(key.hash()).join(FILE)
    }
}
