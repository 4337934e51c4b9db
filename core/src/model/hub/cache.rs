//! The cache, with the layout that all programs of the hub share: `models--org--name/{blobs,refs,snapshots/COMMIT}`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hf_hub::{CacheRepo, Repo, RepoType};

use super::name::{Name, is_commit};
use super::settings::Settings;
use crate::base::access::Access;
use crate::base::cache::{Shelved, shelved};
use crate::base::{Error, Result, files};

/// The part of the cache that belongs to one model.
pub struct Cache {
    /// The access rules of the run. The cache may be read and written unless a rule denies it.
    access: Access,
    root: PathBuf,
    layout: CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
}

/// The models in the cache, by name, with the size of each.
pub fn models(settings: &Settings) -> Vec<(String, Shelved)> {
    let name = |lies: &Shelved| model_in(lies.folder.file_name()?.to_str()?);
    shelved(&settings.cache).into_iter().filter_map(|lies| Some((name(&lies)?, lies))).collect()
}

/// The model that a folder of the cache is for, by the folder's name.
pub fn model_in(folder: &str) -> Option<String> {
    let (org, name) = folder.strip_prefix("models--")?.split_once("--")?;
    Some(format!("{org}/{name}"))
}

impl Cache {
    /// Refuses a cache that may not be read, so that nothing in it is revealed.
    pub fn new(access: &Access, settings: &Settings, name: &Name) -> Result<Self> {
        let root = settings.cache.clone();
        let repo = Repo::new(name.repo(), RepoType::Model);
        let own = repo.folder_name();
        let cache = Self {
            access: access.within(&root)?,
            folder: root.join(&own),
            locks: root.join(".locks").join(own),
            layout: hf_hub::Cache::new(root.clone()).repo(repo),
            root,
        };
        cache.access.to_read(&cached(&cache.folder)?)?;
        Ok(cache)
    }

    /// Checks that a place of the cache may be written.
    pub fn may_write(&self, place: &Path) -> Result<()> {
        self.access.to_write(&cached(place)?)?;
        Ok(())
    }

    /// The folder of all models.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the files of a commit.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    pub fn place(&self, commit: &str, file: &str) -> PathBuf {
        self.snapshot(commit).join(file)
    }

    /// Links point only at complete files.
    pub fn has(&self, commit: &str, file: &str) -> bool {
        self.place(commit, file).is_file()
    }

    /// The places of a file's content and of its lock.
    pub fn blob(&self, etag: &str) -> (PathBuf, PathBuf) {
        (self.folder.join("blobs").join(etag), self.locks.join(format!("{etag}.lock")))
    }

    /// The commit of the revision when the hub was last asked.
    pub fn commit(&self, name: &Name) -> Result<Option<String>> {
        if name.is_commit() {
            return Ok(Some(name.revision.clone()));
        }
        let place = self.folder.join("refs").join(&name.revision);
        let bytes = files::end_of(&place, 64).map_err(|e| Error::io("read", &place, &e))?;
        Ok(String::from_utf8(bytes).ok().map(|text| text.trim().to_string()).filter(|text| is_commit(text)))
    }

    /// Stores the commit of the revision.
    pub fn note(&self, name: &Name, commit: &str) -> Result<()> {
        if name.is_commit() {
            return Ok(());
        }
        let place = self.folder.join("refs").join(&name.revision);
        if self.may_write(&place).is_err() {
            // It is needed only for later use without a network; the files themselves are complete.
            return Ok(());
        }
        let folder = folder_of(&place)?;
        let failed = |e: std::io::Error| Error::io("write", &place, &e);
        let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        beside.write_all(commit.as_bytes()).map_err(failed)?;
        beside.persist(&place).map_err(|e| failed(e.error))?;
        Ok(())
    }

    /// Links a file of a commit to its content.
    pub fn point(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let pointer = self.place(commit, file);
        self.may_write(&pointer)?;
        folder_of(&pointer)?;
        if pointer.is_symlink() {
            // The link is broken, since otherwise the file would have been found.
            fs::remove_file(&pointer).map_err(|e| Error::io("replace", &pointer, &e))?;
        }
        // From `snapshots/COMMIT/FOLDERS/FILE` up to the folder of the model.
        let up = "../".repeat(2 + file.matches('/').count());
        let (blob, _) = self.blob(etag);
        match link(Path::new(&format!("{up}blobs/{etag}")), &blob, &pointer) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io("write", &pointer, &e)),
            _ => Ok(()),
        }
    }

    /// The files of a commit that are in the cache.
    pub fn names(&self, commit: &str) -> Vec<String> {
        let mut found = Vec::new();
        below(&self.snapshot(commit), "", &mut found);
        found.sort();
        found
    }
}

#[cfg(unix)]
fn link(target: &Path, _blob: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// On other systems links require special rights, so a copy is made, as by the other programs.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, pointer: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(|_| ()))
}

/// A place of the cache as an absolute path, since a relative one would be an output of the run.
fn cached(place: &Path) -> Result<PathBuf> {
    std::path::absolute(place).map_err(|e| Error::io("resolve", place, &e))
}

/// The folder of a place, created if it is missing.
fn folder_of(place: &Path) -> Result<&Path> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|e| Error::io("write into", folder, &e))?;
    Ok(folder)
}

/// The entries of a folder; none if it does not exist.
fn below(folder: &Path, path: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (place, path) = (entry.path(), format!("{path}{name}"));
        if place.is_dir() {
            below(&place, &format!("{path}/"), found);
        } else if place.is_file() {
            found.push(path);
        }
    }
}
