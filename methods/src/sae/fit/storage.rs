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
}

/// The cache, for the dictionaries of one call.
pub struct FitCache<'a> {
    call: CallCache<'a>,
    device: Device,
    task: &'a Task,
}

/// A function that is called with each dictionary when it has been fitted.
pub type OnFitted<'a> = &'a mut dyn FnMut(&FitResult);

impl<'a> FitCache<'a> {
    /// Opens the cache; None where nothing is cached: there is no folder for it, or none that may be used; or the fits
    /// have checkpoints.
    pub fn open(storage: &FitStorage, task: &'a Task) -> Option<Self> {
        let folder = storage.cache.as_ref().filter(|_| storage.checkpoints.dir.is_none())?;
        let fresh = storage.fresh || storage.checkpoints.fresh;
        let call = CallCache::open(folder, storage.files.access(), fresh, task)?;
        Some(Self { call, device: storage.device.clone(), task })
    }

    /// Loads what is cached under these keys, and fits the others, in the order of the keys. `fit` is given the indices
    /// of the missing ones, and reports each in their order when it is done, which is cached at once.
    pub fn completed(
        &self,
        keys: &[FitKey],
        fit: impl FnOnce(&[usize], OnFitted) -> Result<Vec<FitResult>>,
    ) -> Result<Vec<FitResult>> {
        let found = keys.iter().map(|key| self.find(key)).collect::<Result<Vec<_>>>()?;
        let loaded = keys.iter().zip(&found).filter(|(_, found)| found.is_some()).map(|(key, _)| key.site());
        self.tell(&loaded.collect::<Vec<_>>());
        let missing: Vec<usize> =
            found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(number, _)| number).collect();
        let mut fitted = Vec::new().into_iter();
        if missing.is_empty() {
            // What is loaded counts as the piece of work that it saves, so that the numbers of pieces do not depend on the cache.
            let _piece = self.task.piece();
        } else {
            let mut left = missing.iter().filter_map(|number| keys.get(*number));
            fitted = fit(&missing, &mut |done| {
                if let Some(key) = left.next()
                    && done.is_whole
                {
                    self.put(key, done);
                }
            })?
            .into_iter();
        }
        let all = found.into_iter().map(|found| found.or_else(|| fitted.next())).collect::<Option<Vec<_>>>();
        all.ok_or_else(|| err!(Bug, "fewer dictionaries than were to be fitted"))
    }

    fn find(&self, key: &FitKey) -> Result<Option<FitResult>> {
        let found = self.call.find(key, |cache| cache.find(key, self.task))?;
        found.map(|found| Ok(FitResult { made: found.made.to_device(&self.device)?, ..found })).transpose()
    }

    fn tell(&self, names: &[&str]) {
        let what = match names {
            [] => return,
            [first, others @ ..] if !others.is_empty() && others.iter().all(|other| other == first) => {
                format!("{} dictionaries of {first}", names.len())
            }
            _ => names.join(", "),
        };
        self.call.tell(&what);
    }

    fn put(&self, key: &FitKey, fitted: &FitResult) {
        self.call.put(key, |cache| cache.put(key, &fitted.made, &fitted.history));
    }
}
