//! The cache for the fits of one call: what it has is said, and what cannot be read or written is no reason to stop.

use std::path::Path;

use super::{DictionaryCache, FitKey};
use crate::base::access::Access;
use crate::base::{Kind, Result, Task};

/// The cache, for the fits of one call.
pub struct CallCache<'a> {
    cache: DictionaryCache,
    /// Whether dictionaries are fitted again although they are cached.
    fresh: bool,
    task: &'a Task,
}

impl<'a> CallCache<'a> {
    /// Opens the cache of a folder; None if it may not be used.
    pub fn open(folder: &Path, access: &Access, fresh: bool, task: &'a Task) -> Option<Self> {
        let cache = DictionaryCache::open(folder, access).unwrap_or_else(|error| {
            task.say(&format!("dictionaries are not cached: {}", error.message));
            None
        })?;
        Some(Self { cache, fresh, task })
    }

    /// Loads what `load` finds under a key. What is damaged is said, and counts as not there.
    pub fn find<T>(&self, key: &FitKey, load: impl FnOnce(&DictionaryCache) -> Result<Option<T>>) -> Result<Option<T>> {
        // What is to end early is not what a whole fit has cached.
        if self.fresh || self.task.ends_next_piece() {
            return Ok(None);
        }
        match load(&self.cache) {
            Err(error) if error.kind != Kind::Interrupted => {
                let site = key.site();
                let why = error.message;
                self.task.say(&format!("the cached dictionary of {site} cannot be used, so it is fitted again: {why}"));
                Ok(None)
            }
            found => found,
        }
    }

    /// Says what was loaded.
    pub fn tell(&self, what: &str) {
        self.task.say(&format!(
            "loaded {what} from the cache, fitted with the same model, text and options; --fresh fits again"
        ));
    }

    /// Caches what has been fitted to its end, by `save`. If it cannot be cached, that is no reason to stop.
    pub fn put(&self, key: &FitKey, save: impl FnOnce(&DictionaryCache) -> Result<()>) {
        if let Err(error) = save(&self.cache) {
            self.task.say(&format!("{} is not cached: {}", key.site(), error.message));
        }
    }
}
