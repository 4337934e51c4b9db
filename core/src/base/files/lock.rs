//! Locks that keep two runs out of one folder, and the files that a terminated process must not leave behind.

use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::plain;
use crate::base::disk::{self, File};
use crate::base::{Error, Result, clock, locked};
use crate::err;

/// The name of the lock that a writing run holds in each folder it writes to.
pub(super) const LOCK: &str = ".microtome.lock";

/// The prefix of the names of files that are being written.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Maximum attempts to take a lock whose file is replaced meanwhile.
const ATTEMPTS: usize = 100;

/// Number of tries of a lock that another process holds.
const GLANCES: usize = 3;
const GLANCE: Duration = Duration::from_millis(5);

/// Unfinished files, temporary folders and held locks, which a process removes before it exits abruptly.
static TEMPORARY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes unfinished files, temporary folders and locks, right before the process is terminated.
pub fn abandon() {
    for place in std::mem::take(&mut *locked(&TEMPORARY)) {
        // If it cannot be removed now, it stays as a file without effect.
        let _stays = disk::remove_file(&place).or_else(|_| disk::remove_dir_all(&place));
    }
}

/// A temporary file or folder, which [`abandon`] removes as long as this lives.
pub(super) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(super) fn new(place: &Path) -> Self {
        locked(&TEMPORARY).insert(place.to_path_buf());
        Self(place.to_path_buf())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        locked(&TEMPORARY).remove(&self.0);
    }
}

/// A lock on a folder, held by the system for as long as the file is open: a killed run leaves none behind.
pub(super) struct Lock {
    file: File,
    /// The lock's own file; none where the folder itself is locked.
    place: Option<TemporaryFile>,
}

impl Lock {
    /// Locks the folder, and removes what a killed run left unfinished there. Returns none where another run has locked
    /// it.
    pub(super) fn take(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(LOCK);
        let mut glances = 0;
        for _ in 0..ATTEMPTS {
            // A folder, a pipe or a link may have this name; they are not locks and are left as they are.
            let is_taken = disk::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file());
            let place = if is_taken { folder } else { &path };
            let opened = if is_taken { itself(folder) } else { plain::make(&path) };
            let file = opened.map_err(|e| Error::io("write into", folder, &e))?;
            match file.try_lock() {
                Ok(()) => {}
                // Who asks whether the folder is locked holds the file for a moment.
                Err(TryLockError::WouldBlock) if glances < GLANCES => {
                    glances += 1;
                    clock::sleep(GLANCE);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", folder, &e)),
            }
            // The run before may have removed the file between our opening and our locking it.
            if same_file(&file, place) {
                remove_unfinished(folder);
                return Ok(Some(Self { file, place: (!is_taken).then(|| TemporaryFile::new(&path)) }));
            }
        }
        Err(err!(File, "cannot lock {}: its lock file keeps changing", folder.display())
            .hint("choose a folder on another file system with --out"))
    }
}

/// Opens the folder itself, to be locked where the system can.
#[cfg(unix)]
fn itself(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

#[cfg(not(unix))]
fn itself(folder: &Path) -> io::Result<File> {
    Err(io::Error::other(format!("there is no lock in it: {} is no file; remove it", folder.join(LOCK).display())))
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // Removed while still locked, so that no other run can hold a lock on a deleted file. If it cannot be
            // removed it stays as an empty file without effect.
            let _stays = disk::remove_file(&place.0);
        }
        let _released_on_close = self.file.unlock();
    }
}

/// Returns whether some process holds the lock of a folder. The lock is tried, and let go at once.
pub(super) fn is_held(folder: &Path) -> io::Result<bool> {
    match plain::read(&folder.join(LOCK)) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the files that a killed run left unfinished. While the lock is held, no other run is writing in the folder.
fn remove_unfinished(folder: &Path) {
    for entry in disk::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _stays_where_it_may_not_be_removed = disk::remove_file(entry.path());
        }
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), disk::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_file: &File, path: &Path) -> bool {
    disk::exists(path)
}

#[cfg(test)]
pub(super) fn passing_below(folder: &Path) -> usize {
    locked(&TEMPORARY).iter().filter(|place| place.starts_with(folder)).count()
}
