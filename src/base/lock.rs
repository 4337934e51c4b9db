//! One run at a time in a folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::err;

/// The name of the lock that a writing run holds in each folder it writes to.
const LOCK: &str = ".microtome.lock";
/// How the names of files begin that are being written.
pub const UNFINISHED: &str = ".unfinished-";

/// A lock on a folder, held by the system for as long as the file is open: a killed run leaves none behind.
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the folder, and clears away what a run that was killed there has left half-written.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| Error::io("write into", folder, &e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(err!(File, "another run is writing into {}", folder.display())
                        .hint("wait for it, or give this one a folder of its own with --out"));
                }
                Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", folder, &e)),
            }
            // The run before may have removed the file between our opening and our locking it.
            if same_file(&file, &path) {
                remove_unfinished(folder);
                return Ok(Self { file, path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked, so that nobody can hold the lock of a file that is no longer there. If it cannot
        // be removed it stays as an empty file without effect.
        let _stays = fs::remove_file(&self.path);
        let _released_on_close = self.file.unlock();
    }
}

/// With the lock held nobody else is writing here.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _stays_where_it_may_not_be_removed = fs::remove_file(entry.path());
        }
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_file: &File, path: &Path) -> bool {
    path.exists()
}
