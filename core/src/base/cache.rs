//! The cache folder: where it is, what is kept in it and how, and its size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::WalkDir;

use super::access::Access;
use super::files::{self, Files};
use super::{Error, Result};
use crate::err;

/// The environment variable that names the folder; empty for none.
pub const VARIABLE: &str = "MICROTOME_CACHE";

/// Returns the folder that `MICROTOME_CACHE` names, none if that is empty, or else `microtome` in the user's folder for
/// caches.
pub fn folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    match std::env::var_os(VARIABLE) {
        Some(place) => (!place.is_empty()).then(|| place.into()),
        None => Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("microtome")),
    }
}

/// Number of digits of a SHA-256.
const DIGITS: usize = 64;

/// A folder of the cache that a run may read and write.
pub struct CacheFolder {
    pub files: Files,
    pub folder: PathBuf,
}

impl CacheFolder {
    /// Opens a folder of the cache; None if the rules of a run deny to read or to write there. What is read and written there
    /// is neither input nor output of the run: it is what the run would make.
    pub fn open(folder: &Path, access: &Access) -> Result<Option<Self>> {
        let access = access.within(folder)?;
        let folder = access.out().to_path_buf();
        let may = access.to_read(&folder).and_then(|_| access.to_write(&folder)).is_ok();
        Ok(may.then(|| Self { files: Files::new(access, false), folder }))
    }

    /// Reads the file at a place, if there is one, and marks it as used.
    pub fn find<T>(&self, place: &Path, read: impl FnOnce(&Files) -> Result<T>) -> Result<Option<T>> {
        if !place.exists() {
            return Ok(None);
        }
        let found = read(&self.files)?;
        // A read-only cache is useful, too; the time of use is then not recorded.
        let _only_read = files::mark_used(place);
        Ok(Some(found))
    }

    /// Writes a file, in place of one that is there.
    pub fn put(&self, save: impl FnOnce(&Files) -> Result<PathBuf>) -> Result<()> {
        let saved = save(&self.files);
        // The run goes on for long, and others write here, too.
        self.files.release();
        saved.map(|_| ())
    }
}

/// Splits a file that ends with the digits of a hash from these; `what` says in an error what was expected.
pub fn halves<'a>(bytes: &'a [u8], what: &str) -> Result<(&'a [u8], &'a [u8])> {
    let halves = bytes.len().checked_sub(DIGITS).and_then(|at| bytes.split_at_checked(at));
    halves.ok_or_else(|| err!(Format, "expected {what}, found {} bytes", bytes.len()))
}

/// Returns the content of a file that ends with the digits of its hash, and refuses another hash than this one.
pub fn unsealed<'a>(bytes: &'a [u8], what: &str, hash: impl FnOnce(&[u8]) -> String) -> Result<&'a [u8]> {
    let (content, digits) = halves(bytes, what)?;
    if hash(content).as_bytes() != digits {
        return Err(err!(Format, "its bytes have changed since it was written"));
    }
    Ok(content)
}

/// A folder in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFolder {
    pub folder: PathBuf,
    pub bytes: u64,
    /// Time when one of the folder's files was last marked as used, or changed.
    pub used: SystemTime,
}

/// A folder in the cache, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedFolder<const N: usize> {
    /// Description of the content in the columns of the list, or of the damage in the first of them.
    pub words: [String; N],
    pub lies: CachedFolder,
}

/// Folders that were cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClearedFolders {
    pub count: usize,
    pub bytes: u64,
}

/// Lists the direct subfolders of a folder, by name; none if it is missing or unreadable.
pub fn shelved(folder: &Path) -> Vec<CachedFolder> {
    let inner = WalkDir::new(folder).min_depth(1).max_depth(1).sort_by_file_name().into_iter().flatten();
    inner.filter(|entry| entry.file_type().is_dir()).map(|entry| measured(entry.into_path())).collect()
}

/// Returns whether a name is a key, which is a SHA-256 hash.
pub fn is_key(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Lists the direct subfolders that are named like keys: others there are not ours.
fn keyed(folder: &Path) -> impl Iterator<Item = CachedFolder> + use<> {
    let named = move |lies: &CachedFolder| lies.folder.file_name().and_then(|name| name.to_str()).is_some_and(is_key);
    shelved(folder).into_iter().filter(named)
}

/// Lists the subfolders named like keys in the words that `describe` has for them, those used last first.
pub fn described<const N: usize>(
    folder: &Path,
    describe: impl Fn(&Path) -> Result<[String; N]>,
) -> Vec<DescribedFolder<N>> {
    let damaged =
        |e: Error| std::array::from_fn(|at| if at == 0 { format!("damaged: {}", e.message) } else { String::new() });
    let in_words = |lies: CachedFolder| DescribedFolder { words: describe(&lies.folder).unwrap_or_else(damaged), lies };
    let mut all: Vec<DescribedFolder<N>> = keyed(folder).map(in_words).collect();
    all.sort_by(|a, b| b.lies.used.cmp(&a.lies.used).then_with(|| a.words.cmp(&b.words)));
    all
}

/// Removes the subfolders named like keys that were not used for this many days, or all of them.
pub fn clear(folder: &Path, unused_for: Option<u64>, now: SystemTime) -> Result<ClearedFolders> {
    let mut cleared = ClearedFolders::default();
    let is_old = |lies: &CachedFolder| unused_for.is_none_or(|days| days_between(lies.used, now) >= days);
    for lies in keyed(folder).filter(is_old) {
        fs::remove_dir_all(&lies.folder).map_err(|e| Error::io("remove", &lies.folder, &e))?;
        cleared.count += 1;
        cleared.bytes += lies.bytes;
    }
    Ok(cleared)
}

/// Measures a folder, without following links.
fn measured(folder: PathBuf) -> CachedFolder {
    let mut bytes = 0_u64;
    let mut used = SystemTime::UNIX_EPOCH;
    let entries = WalkDir::new(&folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    for meta in entries.filter_map(|entry| entry.metadata().ok()) {
        bytes = bytes.saturating_add(meta.len());
        used = used.max(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    }
    CachedFolder { folder, bytes, used }
}

/// Tells how long ago a time was, in days: "today", "yesterday", "12 days ago".
pub fn days_ago(then: SystemTime, now: SystemTime) -> String {
    match days_between(then, now) {
        0 => "today".into(),
        1 => "yesterday".into(),
        days => format!("{days} days ago"),
    }
}

/// Returns the whole days from one time to a later one; none if the clock was set back.
pub fn days_between(then: SystemTime, now: SystemTime) -> u64 {
    now.duration_since(then).map_or(0, |passed| passed.as_secs() / (24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::mark_used;
    use std::time::Duration;

    #[test]
    fn folders_are_measured_without_following_links() {
        let root = tempfile::tempdir().unwrap();
        let before = SystemTime::now() - Duration::from_secs(3600);
        fs::create_dir_all(root.path().join("a/deep")).unwrap();
        fs::create_dir_all(root.path().join("b")).unwrap();
        fs::write(root.path().join("a/one"), [0; 10]).unwrap();
        fs::write(root.path().join("a/deep/two"), [0; 5]).unwrap();
        fs::write(root.path().join("stray"), [0; 100]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path().join("stray"), root.path().join("b/link")).unwrap();
        let old = fs::File::options().append(true).open(root.path().join("a/one")).unwrap();
        old.set_modified(before).unwrap();
        fs::File::options().append(true).open(root.path().join("a/deep/two")).unwrap().set_modified(before).unwrap();
        let found = shelved(root.path());
        let names: Vec<_> = found.iter().map(|one| one.folder.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((found[0].bytes, found[0].used, found[1].bytes), (15, before, 0));
        mark_used(&root.path().join("a/one")).unwrap();
        assert!(shelved(root.path())[0].used > before);
        assert_eq!(shelved(&root.path().join("missing")), []);
    }

    #[test]
    fn days_are_counted_from_the_last_use() {
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 60 * 60);
        for (passed, said) in [(day / 2, "today"), (day, "yesterday"), (12 * day + day / 2, "12 days ago")] {
            assert_eq!(days_ago(now - passed, now), said);
        }
        assert_eq!(days_ago(now + day, now), "today");
    }
}
