//! Fits on rows of a text that are resumed and cached, for the tests of each kind of dictionary.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{FittedOnText, TextDescentOptions, TextDictionary};
use crate::base::access::{Access, Rules};
use crate::base::files::Files;
use crate::base::random::Seed;
use crate::base::task::{Bar, Progress, Silent};
use crate::base::{Result, Task};
use crate::checkpoint::load::LoadSettings;
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::model::Model;
use crate::sae::cached;
use crate::sae::fit::FitStorage;
use crate::tensor::floats;
use crate::training::CheckpointOptions;

/// A fit of so many steps.
type Fit<'a, T> = &'a dyn Fn(u64, &FitStorage, &Task) -> Result<FittedOnText<T>>;

pub fn files(folder: &Path) -> Files {
    Files::new(Access::new(folder, &Rules::default()).unwrap(), false)
}

/// Loads the model inside the program, and a short text of it.
pub fn tiny() -> (Model, Text) {
    let task = Task::default();
    let files = files("out".as_ref());
    let model = Model::load(&files, "tiny", &LoadSettings::default(), &task).unwrap();
    let options = TextOptions { tokens: Some(600), ..TextOptions::default() };
    (model, Text::of_tiny(&files, options, &task).unwrap())
}

/// Makes options of a descent on rows of so many tokens.
pub fn descent(context: usize) -> TextDescentOptions {
    TextDescentOptions {
        batch: 2,
        context: Some(context),
        warmup: 5,
        seed: Seed::of(1),
        ..TextDescentOptions::default()
    }
}

/// Makes a task whose next fit ends after so many steps.
fn ending_after(steps: u64) -> Task {
    let task = Task::default();
    task.end_early(&[Some(steps)]);
    task
}

/// Returns the numbers of a fitted dictionary in the order of their names, its metadata and its losses.
fn content<T: TextDictionary>(fitted: &FittedOnText<T>) -> (Vec<Vec<f64>>, BTreeMap<String, String>, Vec<f64>) {
    let named = fitted.to_tensors().unwrap();
    let numbers = named.tensors.values().map(|tensor| floats(tensor).unwrap()).collect();
    (numbers, named.metadata, fitted.losses.clone())
}

/// Asserts that an interrupted fit goes on to the same bits, and not with other options.
fn assert_resumed<T: TextDictionary + Debug>(fit: Fit<T>) {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let dir = Some(folder.path().join("checkpoints").display().to_string());
    let checkpoints = CheckpointOptions { dir, every: 2, fresh: false };
    let saved = FitStorage { checkpoints, ..FitStorage::none(&files) };
    let whole = fit(5, &FitStorage::none(&files), &Task::default()).unwrap();
    let part = fit(5, &saved, &ending_after(3)).unwrap();
    assert_eq!(part.losses, whole.losses[..3]);
    files.release();
    let resumed = fit(5, &saved, &Task::default()).unwrap();
    assert_eq!(content(&resumed), content(&whole));
    files.release();
    // What has ended is read again.
    assert_eq!(content(&fit(5, &saved, &Task::default()).unwrap()), content(&whole));
    files.release();
    let error = fit(6, &saved, &Task::default()).unwrap_err();
    let found = "the checkpoint there is of another model, site or text, or has other options";
    assert!(error.message.ends_with(found), "{error:?}");
    assert!(error.hint.unwrap().starts_with("give the same model, site, text and options to resume"));
    files.release();
    let fresh = FitStorage { checkpoints: CheckpointOptions { fresh: true, ..saved.checkpoints.clone() }, ..saved };
    assert_eq!(fit(6, &fresh, &Task::default()).unwrap().losses.len(), 6);
}

/// The lines that were said.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Progress for Said {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Bar> {
        Silent.begin(label, total)
    }

    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

/// Asserts that a fit at a site is found again in the cache bit for bit, and one that was interrupted is not.
fn assert_cached<T: TextDictionary + Debug>(site: &str, fit: Fit<T>) {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let cache = folder.path().join("cache");
    let storage = FitStorage { cache: Some(cache.clone()), ..FitStorage::none(&files) };
    let count = || fs::read_dir(cached::folder(&cache)).into_iter().flatten().count();
    let said = Arc::new(Said::default());
    let listening = Task::new(Arc::default(), said.clone());
    assert_eq!(fit(4, &storage, &ending_after(2)).unwrap().losses.len(), 2);
    assert_eq!(count(), 0);
    let whole = fit(4, &storage, &listening).unwrap();
    assert_eq!((count(), whole.losses.len(), said.0.lock().unwrap().len()), (1, 4, 0));
    let found = fit(4, &storage, &listening).unwrap();
    assert_eq!(content(&found), content(&whole));
    let line =
        format!("loaded {site} from the cache, fitted with the same model, text and options; --fresh fits again");
    assert_eq!(*said.0.lock().unwrap(), [line]);
    // It counts as a piece of work, as the fit does.
    assert_eq!(listening.pieces(), 2);
    let fresh = FitStorage { fresh: true, ..storage.clone() };
    assert_eq!(content(&fit(4, &fresh, &listening).unwrap()), content(&whole));
    assert_eq!((count(), said.0.lock().unwrap().len()), (1, 1));
    // More steps are another fit, and what is damaged is fitted again.
    fit(5, &storage, &listening).unwrap();
    assert_eq!(count(), 2);
    for entry in fs::read_dir(cached::folder(&cache)).unwrap().flatten() {
        fs::write(entry.path().join("kept.dictionary"), "broken").unwrap();
    }
    assert_eq!(content(&fit(4, &storage, &listening).unwrap()), content(&whole));
    let said = said.0.lock().unwrap();
    assert!(said[1].starts_with(&format!("the cached dictionary of {site} cannot be used")), "{said:?}");
}

/// Asserts that a fit at a site is resumed and cached as all fits are.
pub fn assert_resumed_and_cached<T: TextDictionary + Debug>(site: &str, fit: Fit<T>) {
    assert_resumed(fit);
    assert_cached(site, fit);
}
