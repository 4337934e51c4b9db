//! The cache folder: where it is, and its size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::WalkDir;

use super::{Error, Result};

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

/// A folder in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFolder {
    pub folder: PathBuf,
    pub bytes: u64,
    /// Time when one of the folder's files was last marked as used, or changed.
    pub used: SystemTime,
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

/// Lists the direct subfolders that are named like keys, which are SHA-256 hashes: others there are not ours.
pub fn keyed(folder: &Path) -> impl Iterator<Item = CachedFolder> + use<> {
    let is_key =
        |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let named = move |lies: &CachedFolder| lies.folder.file_name().and_then(|name| name.to_str()).is_some_and(is_key);
    shelved(folder).into_iter().filter(named)
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
