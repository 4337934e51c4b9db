//! The user's own files, such as the history of the prompt, to which the rules for scripts do not apply.
//!
//! Users may keep them elsewhere and link to them, so links are followed here.

use std::fs::TryLockError;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plain;
use crate::base::clock::{self, Instant, SystemTime};
use crate::base::disk::{self, File};

/// The timeout for the lock; others hold it only to append a line or to read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the last `limit` bytes of a file. A file that is not there yet is empty.
pub fn end_of(place: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = match plain::read(&target(place)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    patiently(|| file.try_lock_shared())?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Appends to a file of the user, in one write under a lock; it is made, for its owner alone, if it is missing.
pub fn append(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        disk::create_dir_all(folder)?;
    }
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = plain::opened(&mut options, &target(place)?)?;
    patiently(|| file.try_lock())?;
    file.write_all(bytes)
}

/// Sets a file's modification time to now.
pub fn mark_used(place: &Path) -> io::Result<()> {
    plain::append(place)?.set_modified(SystemTime::now())
}

/// Returns the place that a link leads to.
fn target(place: &Path) -> io::Result<PathBuf> {
    crate::base::access::resolve(place).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.message))
}

/// Waits for a lock, with a timeout.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<()> {
    let since = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if since.elapsed() > PATIENCE => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "another program has locked it"));
            }
            Err(TryLockError::WouldBlock) => clock::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    /// Checks that paths that are no file or stay locked are not waited for: each of them blocked the prompt for ever.
    #[test]
    fn what_is_no_file_or_stays_locked_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for place in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(end_of(place, 10).is_err() && append(place, b"x").is_err() && mark_used(place).is_err());
        }
        let file = folder.path().join("file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        append(&link, b"one").unwrap();
        assert_eq!(end_of(&link, 2).unwrap(), b"ne");
        let held = plain::make(&file).unwrap();
        held.lock().unwrap();
        assert_eq!(append(&link, b"two").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(end_of(&link, 2).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        append(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"onetwo");
    }
}
