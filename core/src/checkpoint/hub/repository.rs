//! A repository at one commit, whose files are downloaded one by one, when they are needed.

use super::cache::RepositoryCache;
use super::name::Name;
use super::remote::Remote;
use super::settings::HubSettings;
use super::{about_the_cache, bring, kept_hint, may_ask, without};
use crate::common::*;
use crate::net;

/// A repository whose files are fetched one at a time. Its commit is that of its revision when it was opened, so that all
/// that is read of it belongs together.
pub struct Repository {
    files: Files,
    settings: HubSettings,
    name: Name,
    commit: String,
    names: Vec<String>,
    is_whole: bool,
}

impl Repository {
    /// Asks the hub for the commit of the revision and the names of its files.
    ///
    /// Without access to the hub, or with `HF_HUB_OFFLINE` set, only the cache is used.
    pub fn open(files: &Files, task: &Task, settings: &HubSettings, name: &Name) -> Result<Self> {
        task.check()?;
        let cache = RepositoryCache::new(files.access(), settings, name)?;
        let opened = |commit: String, names, is_whole| Self {
            files: files.clone(),
            settings: settings.clone(),
            name: name.clone(),
            commit,
            names,
            is_whole,
        };
        if let Err(refusal) = may_ask(files, settings) {
            let Some(commit) = cache.commit(name)? else { return Err(without(name, "not", &cache, &refusal)) };
            let listing = cache.listing(&commit)?;
            let is_whole = listing.is_some();
            let names = listing.unwrap_or_else(|| cache.names(&commit));
            if names.is_empty() {
                return Err(without(name, "not", &cache, &refusal));
            }
            return Ok(opened(commit, names, is_whole));
        }
        // A commit never changes.
        if name.is_commit()
            && let Some(names) = cache.listing(&name.revision)?
        {
            return Ok(opened(name.revision.clone(), names, true));
        }
        let remote = Remote::new(files.access(), settings, name)?;
        let state = net::wait_for(remote.state(task)).map_err(|e| kept_hint(e, &cache, name))?;
        cache.list(&state.commit, &state.names).map_err(about_the_cache)?;
        cache.note(name, &state.commit).map_err(about_the_cache)?;
        Ok(opened(state.commit, state.names, true))
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the paths of the files.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Tells whether the paths are those of all files. A cache that another program filled may have only some, and does
    /// not say so.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns the place of a file in the cache, into which it is downloaded unless it is there.
    pub fn fetch(&self, file: &str, task: &Task) -> Result<PathBuf> {
        let cache = RepositoryCache::new(self.files.access(), &self.settings, &self.name)?;
        if !cache.has(&self.commit, file) {
            let may_ask = may_ask(&self.files, &self.settings);
            may_ask.map_err(|refusal| without(format!("{file} of {}", self.name), "not", &cache, &refusal))?;
            let remote = Remote::new(self.files.access(), &self.settings, &self.name)?;
            net::wait_for(bring(task, &cache, &remote, &self.commit, file))?;
        }
        Ok(cache.place(&self.commit, file))
    }
}
