//! The cache, with the layout that all programs of the hub share: `models--org--name/{blobs,refs,snapshots/COMMIT}`.
//!
//! The hf-hub crate names the folders of repositories and commits. Its other functions are not used: its `get` finds no
//! file of a revision that is a commit, and follows whatever a file of `refs` says; its `create_ref` writes in place,
//! so that another process may read half of it; its cache of the environment is that of HF_HOME alone; and of none it
//! asks whether the run may read or write there.

use std::fs;
use std::io::Write;

use hf_hub::{CacheRepo, Repo};

use super::name::{Name, RepoKind, is_commit, is_path};
use super::settings::HubSettings;
use crate::base::cache::{CachedFolder, shelved};
use crate::base::files;
use crate::common::*;

/// Maximum bytes of a list of the files of a commit; the hub's answer about them is no longer.
const LONGEST_LIST: u64 = 64 << 20;

/// The part of the cache that belongs to one repository.
pub struct RepositoryCache {
    /// The access rules of the run. The cache may be read and written unless a rule denies it.
    access: Access,
    root: PathBuf,
    layout: CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
}

/// Lists the models or data sets in the cache, by name, with the size of each.
pub fn kept(settings: &HubSettings, kind: RepoKind) -> Vec<(String, CachedFolder)> {
    let name = |lies: &CachedFolder| name_in(lies.folder.file_name()?.to_str()?, kind);
    shelved(&settings.cache).into_iter().filter_map(|lies| Some((name(&lies)?, lies))).collect()
}

/// Returns the name of the model or data set that a folder of the cache is for.
pub fn name_in(folder: &str, kind: RepoKind) -> Option<String> {
    let (org, name) = folder.strip_prefix(kind.plural())?.strip_prefix("--")?.split_once("--")?;
    Some(format!("{org}/{name}"))
}

impl RepositoryCache {
    /// Refuses a cache that may not be read, so that nothing in it is revealed.
    pub fn new(access: &Access, settings: &HubSettings, name: &Name) -> Result<Self> {
        let root = settings.cache.clone();
        let repo = Repo::new(name.repo(), name.kind.repo_type());
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

    /// Returns the folder of all repositories.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of the files of a commit.
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

    /// Returns the paths of a file's content and of its lock.
    pub fn blob(&self, etag: &str) -> (PathBuf, PathBuf) {
        (self.folder.join("blobs").join(etag), self.locks.join(format!("{etag}.lock")))
    }

    /// Returns the commit of the revision when the hub was last asked.
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
        put(&place, commit)
    }

    /// Returns the paths of all files of a commit, as the hub listed them; none where it was not asked.
    pub fn listing(&self, commit: &str) -> Result<Option<Vec<String>>> {
        let place = self.listing_place(commit);
        let bytes = files::end_of(&place, LONGEST_LIST).map_err(|e| Error::io("read", &place, &e))?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let names: Vec<String> = text.lines().filter(|path| is_path(path)).map(String::from).collect();
        Ok((!names.is_empty()).then_some(names))
    }

    /// Stores the paths of all files of a commit: of a repository that is fetched file by file, the files in the cache do
    /// not say what else it has.
    pub fn list(&self, commit: &str, names: &[String]) -> Result<()> {
        let place = self.listing_place(commit);
        let snapshot = self.snapshot(commit);
        if self.may_write(&place).is_err() || self.may_write(&snapshot).is_err() {
            return Ok(());
        }
        // To other programs a commit that is noted without a folder of its own is a damaged cache.
        fs::create_dir_all(&snapshot).map_err(|e| Error::io("write into", &snapshot, &e))?;
        put(&place, &(names.join("\n") + "\n"))
    }

    /// Returns the place of the list, which other programs neither look for nor remove.
    fn listing_place(&self, commit: &str) -> PathBuf {
        self.folder.join("listings").join(commit)
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
        // From `snapshots/COMMIT/FOLDERS/FILE` up to the folder of the repository.
        let up = "../".repeat(2 + file.matches('/').count());
        let (blob, _) = self.blob(etag);
        match link(Path::new(&format!("{up}blobs/{etag}")), &blob, &pointer) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io("write", &pointer, &e)),
            _ => Ok(()),
        }
    }

    /// Returns the files of a commit that are in the cache.
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

/// Links a file, or copies it where links require special rights, as other programs do on systems that are no Unix.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, pointer: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(|_| ()))
}

/// Returns a path of the cache as an absolute one, since a relative one would be an output of the run.
fn cached(place: &Path) -> Result<PathBuf> {
    std::path::absolute(place).map_err(|e| Error::io("resolve", place, &e))
}

/// Writes a small file as a whole.
fn put(place: &Path, text: &str) -> Result<()> {
    let folder = folder_of(place)?;
    let failed = |e: std::io::Error| Error::io("write", place, &e);
    let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    beside.write_all(text.as_bytes()).map_err(failed)?;
    beside.persist(place).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Returns the folder of a path, and creates it if it is missing.
fn folder_of(place: &Path) -> Result<&Path> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|e| Error::io("write into", folder, &e))?;
    Ok(folder)
}

/// Lists the entries of a folder; none if it does not exist.
fn below(folder: &Path, path: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let place = entry.path();
        let path = format!("{path}{name}");
        if place.is_dir() {
            below(&place, &format!("{path}/"), found);
        } else if place.is_file() {
            found.push(path);
        }
    }
}
