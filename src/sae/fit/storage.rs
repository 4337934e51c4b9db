//! Where fitted dictionaries are stored: checkpoints while they are trained, and the cache of those that have ended.

use std::path::{Path, PathBuf};

use super::course::Fitted;
use super::options::FitPlan;
use super::sites::SiteData;
use crate::base::files::Files;
use crate::base::{Kind, Result, Task};
use crate::err;
use crate::sae::cached::{DictionaryCache, Key, Reads};
use crate::training::{CheckpointFolder, CheckpointOptions};

/// Where the dictionaries of a call are stored.
#[derive(Clone)]
pub struct FitStorage<'a> {
    pub files: &'a Files,
    pub checkpoints: CheckpointOptions,
    /// The folder of the cache; none for no cache.
    pub cache: Option<PathBuf>,
    /// Whether dictionaries are fitted again although they are cached.
    pub fresh: bool,
}

impl<'a> FitStorage<'a> {
    /// No checkpoints and no cache.
    pub fn none(files: &'a Files) -> Self {
        Self { files, checkpoints: CheckpointOptions::default(), cache: None, fresh: false }
    }

    /// Where one fit saves its checkpoints, if it does: the folder that was given, or one inside it where there are
    /// several fits.
    pub fn checkpoint(&self, inside: Option<&str>) -> Option<CheckpointFolder<'a>> {
        let CheckpointOptions { dir, every, fresh } = &self.checkpoints;
        let folder = Path::new(dir.as_ref()?);
        let folder = inside.map_or_else(|| folder.to_path_buf(), |name| folder.join(name));
        Some(CheckpointFolder { files: self.files, folder, every: *every as u64, fresh: *fresh })
    }
}

/// The cache, for the dictionaries of one call.
pub struct FitCache<'a> {
    cache: DictionaryCache,
    fresh: bool,
    task: &'a Task,
}

/// Called with each dictionary when it has been fitted.
pub type Done<'a> = &'a mut dyn FnMut(&Fitted);

impl<'a> FitCache<'a> {
    /// None where nothing is cached: there is no folder for it, or none that may be used; or the fits have checkpoints.
    pub fn open(storage: &FitStorage, task: &'a Task) -> Option<Self> {
        let folder = storage.cache.as_ref().filter(|_| storage.checkpoints.dir.is_none())?;
        let cache = DictionaryCache::open(folder, storage.files.access()).unwrap_or_else(|error| {
            task.say(&format!("dictionaries are not cached: {}", error.message));
            None
        })?;
        Some(Self { cache, fresh: storage.fresh || storage.checkpoints.fresh, task })
    }

    /// What is cached under these keys, and the others as `fit` makes them, in the order of the keys. `fit` is given
    /// the indices of those, and reports each in their order when it is done, which is cached at once.
    pub fn completed(
        &self,
        keys: &[Key],
        fit: impl FnOnce(&[usize], Done) -> Result<Vec<Fitted>>,
    ) -> Result<Vec<Fitted>> {
        let found = keys.iter().map(|key| self.find(key)).collect::<Result<Vec<_>>>()?;
        self.tell(keys, &found);
        let missing: Vec<usize> =
            found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(number, _)| number).collect();
        let mut fitted = Vec::new().into_iter();
        if !missing.is_empty() {
            let mut left = missing.iter().filter_map(|number| keys.get(*number));
            fitted = fit(&missing, &mut |done| {
                if let Some(key) = left.next() {
                    self.put(key, done);
                }
            })?
            .into_iter();
        }
        let all = found.into_iter().map(|found| found.or_else(|| fitted.next())).collect::<Option<Vec<_>>>();
        all.ok_or_else(|| err!(Bug, "fewer dictionaries than were to be fitted"))
    }

    fn find(&self, key: &Key) -> Result<Option<Fitted>> {
        if self.fresh {
            return Ok(None);
        }
        match self.cache.find(key, self.task) {
            Ok(found) => {
                Ok(found.map(|kept| Fitted { sae: kept.sae, history: kept.history, is_whole: true, failed: None }))
            }
            Err(error) if error.kind == Kind::Interrupted => Err(error),
            Err(error) => {
                let (site, why) = (key.site(), error.message);
                self.task.say(&format!("the cached dictionary of {site} cannot be used, so it is fitted again: {why}"));
                Ok(None)
            }
        }
    }

    fn tell(&self, keys: &[Key], found: &[Option<Fitted>]) {
        let names = keys.iter().zip(found).filter(|(_, found)| found.is_some()).map(|(key, _)| key.site());
        let names: Vec<&str> = names.collect();
        let what = match names.as_slice() {
            [] => return,
            [first, others @ ..] if !others.is_empty() && others.iter().all(|other| other == first) => {
                format!("{} dictionaries of {first}", names.len())
            }
            _ => names.join(", "),
        };
        self.task.say(&format!(
            "loaded {what} from the cache, fitted with the same model, text and options; --fresh fits again"
        ));
    }

    /// Caches a dictionary whose training has ended. If it cannot be cached, that is no reason to stop.
    fn put(&self, key: &Key, fitted: &Fitted) {
        if !fitted.is_whole {
            return;
        }
        if let Err(error) = self.cache.put(key, &fitted.sae, &fitted.history) {
            self.task.say(&format!("{} is not cached: {}", key.site(), error.message));
        }
    }
}

/// The cache key of the dictionary of a plan at one of these sites.
pub fn key(plan: &FitPlan, reads: &Reads, sites: &SiteData, site: &str) -> Result<Key> {
    let (order, width) = sites.order(site)?;
    let count = usize::try_from(reads.rows()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
    let (recipe, d_sae) = plan.recipe(count, width)?;
    Ok(Key::new(reads, &order, &recipe, d_sae))
}
