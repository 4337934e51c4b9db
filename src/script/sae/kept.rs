//! The cache of dictionaries: those that were fitted before, with the same model, text and options.

use super::asked::Asked;
use super::dictionary::Sae;
use super::sites::Sites;
use crate::base::{Kind, Result, Task};
use crate::err;
use crate::sae::fit::Fitted;
use crate::sae::kept::{Kept, Key, Reads, Shelf};
use crate::script::env::Env;

/// Finds and keeps the dictionaries of one call.
pub(super) struct Keeper<'a> {
    shelf: Shelf,
    /// Whether they are fitted although they are cached.
    fresh: bool,
    task: &'a Task,
}

/// Called with each dictionary when it has been fitted.
pub(super) type Done<'a> = &'a mut dyn FnMut(&Fitted);

impl<'a> Keeper<'a> {
    /// None where nothing is cached: there is no folder for it, or none that may be used; or the fits have a `dir`.
    pub fn new(asked: &Asked, env: &'a Env) -> Option<Self> {
        let cache = env.settings.cache.as_ref().filter(|_| asked.keep.dir.is_none())?;
        let shelf = Shelf::open(cache, env.files.access()).unwrap_or_else(|error| {
            env.task.say(&format!("dictionaries are not cached: {}", error.message));
            None
        })?;
        Some(Self { shelf, fresh: env.settings.fresh || asked.keep.fresh, task: &env.task })
    }

    /// What is cached under these keys, and the others as `fit` makes them, in the order of the keys. `fit` is given
    /// the indices of those, and reports each in their order when it is done, which is cached at once.
    pub fn completed(&self, keys: &[Key], fit: impl FnOnce(&[usize], Done) -> Result<Vec<Sae>>) -> Result<Vec<Sae>> {
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

    fn find(&self, key: &Key) -> Result<Option<Sae>> {
        if self.fresh {
            return Ok(None);
        }
        match self.shelf.find(key, self.task) {
            Ok(found) => Ok(found.map(Sae::from)),
            Err(error) if error.kind == Kind::Interrupted => Err(error),
            Err(error) => {
                let (site, why) = (key.site(), error.message);
                self.task.say(&format!("the cached dictionary of {site} cannot be used, so it is fitted again: {why}"));
                Ok(None)
            }
        }
    }

    fn tell(&self, keys: &[Key], found: &[Option<Sae>]) {
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
        if let Err(error) = self.shelf.put(key, &fitted.sae, &fitted.history) {
            self.task.say(&format!("{} is not cached: {}", key.site(), error.message));
        }
    }
}

/// The key of the dictionary that is asked for at one site.
pub(super) fn key(asked: &Asked, reads: &Reads, sites: &Sites, site: &str) -> Result<Key> {
    let (rows, width) = sites.rows(site)?;
    let count = usize::try_from(reads.rows()).map_err(|_| err!(Memory, "more rows than can be counted"))?;
    let (recipe, d_sae) = asked.recipe(count, width)?;
    Ok(Key::new(reads, &rows, &recipe, d_sae))
}

impl From<Kept> for Sae {
    fn from(kept: Kept) -> Self {
        Self::fitted(kept.sae, kept.history)
    }
}

impl From<Fitted> for Sae {
    fn from(fitted: Fitted) -> Self {
        Self::fitted(fitted.sae, fitted.history)
    }
}
