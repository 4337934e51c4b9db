//! Storage of fitted dictionaries: checkpoints while they are trained, and the cache of those that have ended.

use std::path::{Path, PathBuf};

use super::rows::{ActivationRows, OnDevice};
use super::run::FitResult;
use crate::base::files::Files;
use crate::common::*;
use crate::sae::cached::{CallCache, FitKey};
use crate::training::{CheckpointFolder, CheckpointOptions};

/// The device of a call's fits, and the places of their files.
#[derive(Clone)]
pub struct FitStorage<'a> {
    pub files: &'a Files,
    /// Device that computes the fits, and that the dictionaries are on.
    pub device: Device,
    pub checkpoints: CheckpointOptions,
    /// The folder of the cache; none for no cache.
    pub cache: Option<PathBuf>,
    /// Whether dictionaries are fitted again although they are cached.
    pub fresh: bool,
}

impl<'a> FitStorage<'a> {
    /// Builds a storage without checkpoints and cache, on the CPU.
    pub fn none(files: &'a Files) -> Self {
        let checkpoints = CheckpointOptions::default();
        Self { files, device: Device::Cpu, checkpoints, cache: None, fresh: false }
    }

    /// Moves activations to the device of the fits.
    pub fn placed<'r>(&self, rows: Box<dyn ActivationRows + 'r>) -> Box<dyn ActivationRows + 'r> {
        match &self.device {
            Device::Cpu => rows,
            device => Box::new(OnDevice::new(rows, device.clone())),
        }
    }

    /// Returns where one fit saves its checkpoints, if it does: the folder that was given, or one inside it where there
    /// are several fits.
    pub fn checkpoint(&self, inside: &Path) -> Option<CheckpointFolder<'a>> {
        let whole = self.checkpoints.folder(self.files)?;
        let folder = if inside.as_os_str().is_empty() { whole.folder } else { whole.folder.join(inside) };
        Some(CheckpointFolder { folder, ..whole })
    }

    /// Opens the cache for one call; None where nothing is cached: there is no folder for it, or none that may be used;
    /// or the fits have checkpoints.
    pub fn call_cache<'t>(&self, task: &'t Task) -> Option<CallCache<'t>> {
        let folder = self.cache.as_ref().filter(|_| self.checkpoints.dir.is_none())?;
        CallCache::open(folder, self.files.access(), self.fresh || self.checkpoints.fresh, task)
    }

    /// Loads what is cached under these keys, and fits the others, in the order of the keys. `fit` is given the indices
    /// of the missing ones, and reports each in their order when it is done, which is cached at once.
    pub fn completed(
        &self,
        cache: &CallCache,
        keys: &[FitKey],
        fit: impl FnOnce(&[usize], OnFitted) -> Result<Vec<FitResult>>,
        task: &Task,
    ) -> Result<Vec<FitResult>> {
        let find = |key: &FitKey| -> Result<Option<FitResult>> {
            let found = cache.find(key, |cache| cache.find(key, task))?;
            found.map(|found| Ok(FitResult { made: found.made.to_device(&self.device)?, ..found })).transpose()
        };
        let found = keys.iter().map(find).collect::<Result<Vec<_>>>()?;
        let loaded = keys.iter().zip(&found).filter(|(_, found)| found.is_some()).map(|(key, _)| key.site());
        let loaded: Vec<&str> = loaded.collect();
        if !loaded.is_empty() {
            cache.tell(&in_words(&loaded));
        }
        let missing: Vec<usize> =
            found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(number, _)| number).collect();
        let mut fitted = Vec::new().into_iter();
        if missing.is_empty() {
            // What is loaded counts as the piece of work that it saves, so that the numbers of pieces do not depend on the cache.
            let _piece = task.piece();
        } else {
            let mut left = missing.iter().filter_map(|number| keys.get(*number));
            fitted = fit(&missing, &mut |done| {
                if let Some(key) = left.next()
                    && done.is_whole
                {
                    cache.put(key, |cache| cache.put(key, &done.made, &done.history));
                }
            })?
            .into_iter();
        }
        let all = found.into_iter().map(|found| found.or_else(|| fitted.next())).collect::<Option<Vec<_>>>();
        all.ok_or_else(|| err!(Bug, "fewer dictionaries than were to be fitted"))
    }
}

/// A function that is called with each dictionary when it has been fitted.
pub type OnFitted<'a> = &'a mut dyn FnMut(&FitResult);

fn in_words(names: &[&str]) -> String {
    match names {
        [first, others @ ..] if !others.is_empty() && others.iter().all(|other| other == first) => {
            format!("{} dictionaries of {first}", names.len())
        }
        _ => names.join(", "),
    }
}
