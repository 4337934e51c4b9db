//! The models that a session has loaded, by where they are from, and those that sessions side by side have in common.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use crate::base::files::Ledger;
use crate::base::{disk, locked};
use crate::common::*;
use crate::model::{Model, ModelName};

/// Models that scripts still hold; it holds none of them itself.
#[derive(Default)]
pub struct LoadedModels {
    known: RefCell<Vec<Weak<Model>>>,
    /// Models of the sessions beside this one, where there are such.
    shared: Option<Arc<SharedModels>>,
}

impl LoadedModels {
    /// Makes a list that has models in common with other sessions.
    pub fn sharing(shared: Arc<SharedModels>) -> Self {
        Self { known: RefCell::default(), shared: Some(shared) }
    }

    pub fn remember(&self, model: &Arc<Model>) {
        let mut known = self.known.borrow_mut();
        known.retain(|one| one.strong_count() > 0);
        known.push(Arc::downgrade(model));
    }

    /// Returns the latest model of this name.
    pub fn called(&self, name: &ModelName) -> Option<Arc<Model>> {
        let known = self.known.borrow();
        known.iter().rev().filter_map(Weak::upgrade).find(|model| model.name() == *name)
    }

    /// Returns a model that another session has loaded in the same words, or loads it. `words` are all that decides what
    /// is loaded, but for the files.
    pub fn loaded(&self, words: &str, files: &Files, load: impl FnOnce(&Files) -> Result<Model>) -> Result<Arc<Model>> {
        let Some(shared) = &self.shared else { return load(files).map(Arc::new) };
        if let Some(model) = shared.find(words, files) {
            return Ok(model);
        }
        // A ledger of its own, so that it is known which files the model is made of.
        let own = files.within(files.access().clone(), files.task());
        let model = Arc::new(load(&own)?);
        let ledger = own.ledger();
        shared.add(words, &ledger, &model);
        files.note_all(ledger);
        Ok(model)
    }
}

/// Models that one of several sessions has loaded and that some session still holds.
#[derive(Default)]
pub struct SharedModels(Mutex<Vec<SharedModel>>);

struct SharedModel {
    words: String,
    /// Files that the model was read from, with their hashes.
    read: BTreeMap<PathBuf, String>,
    /// State of each of these files when it was read.
    states: Vec<Option<FileState>>,
    model: Weak<Model>,
}

/// The length of a file and when it was last changed: another file of the same name has others.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    length: u64,
    changed: Option<SystemTime>,
}

impl FileState {
    fn of(path: &Path) -> Option<Self> {
        let about = disk::metadata(path).ok()?;
        Some(Self { length: about.len(), changed: about.modified().ok() })
    }
}

impl SharedModels {
    fn all(&self) -> MutexGuard<'_, Vec<SharedModel>> {
        locked(&self.0)
    }

    /// Finds a model whose files are as they were, and which `files` may read; their hashes are noted as read.
    fn find(&self, words: &str, files: &Files) -> Option<Arc<Model>> {
        let mut all = self.all();
        all.retain(|one| one.model.strong_count() > 0);
        let found = all.iter().rev().find(|one| one.words == words)?;
        let may_read = found.read.keys().all(|path| files.access().to_read(path).is_ok());
        if !may_read || states(&found.read) != found.states {
            return None;
        }
        let model = found.model.upgrade()?;
        files.note_all(Ledger { read: found.read.clone(), ..Ledger::default() });
        Some(model)
    }

    fn add(&self, words: &str, ledger: &Ledger, model: &Arc<Model>) {
        let states = states(&ledger.read);
        let model = Arc::downgrade(model);
        self.all().push(SharedModel { words: words.into(), read: ledger.read.clone(), states, model });
    }
}

fn states(read: &BTreeMap<PathBuf, String>) -> Vec<Option<FileState>> {
    read.keys().map(|path| FileState::of(path)).collect()
}
