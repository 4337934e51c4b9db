//! Files of the user's own, such as the history of the prompt, which no script has a say in.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

/// The last `limit` bytes of a file.
/// A file that is not there yet is empty.
pub fn end_of(place: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    file.lock_shared()?;
    let length = file.metadata()?.len();
    io::Seek::seek(&mut file, io::SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok(bytes)
}

/// Adds to the end of such a file, in one write under a lock; it is made, for its owner alone, if it is missing.
pub fn append(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(place)?;
    file.lock()?;
    file.write_all(bytes)
}

/// Has a file say that it was used just now.
pub fn mark_used(place: &Path) -> io::Result<()> {
    File::options().append(true).open(place)?.set_modified(SystemTime::now())
}
