//! Opens regular files only, at names that others can predict: a link at the end of a path is not followed, and opening
//! never blocks, as it would for a pipe.

use std::io;
use std::path::Path;

use crate::base::disk::{self, File, Metadata, OpenOptions};

/// Opens a file for reading.
pub fn read(place: &Path) -> io::Result<File> {
    opened(File::options().read(true), place)
}

/// Opens a file for reading and writing, and makes it if it is missing. What is in it stays.
pub fn make(place: &Path) -> io::Result<File> {
    opened(File::options().read(true).write(true).create(true).truncate(false), place)
}

/// Opens a file that is there for writing at its end.
pub fn append(place: &Path) -> io::Result<File> {
    opened(File::options().append(true), place)
}

/// Opens a file for writing at its end, and makes it if it is missing.
pub fn extend(place: &Path) -> io::Result<File> {
    opened(File::options().append(true).create(true), place)
}

/// Opens a path with these options, if it is a regular file or does not exist.
pub(super) fn opened(options: &mut OpenOptions, place: &Path) -> io::Result<File> {
    // Opening a device may have side effects, so the type is checked before as well.
    match disk::symlink_metadata(place) {
        Ok(meta) => expect_file(&meta)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(place)?;
    expect_file(&file.metadata()?)?;
    Ok(file)
}

/// Refuses what is not a regular file.
pub(super) fn expect_file(meta: &Metadata) -> io::Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let (kind, what) = match (meta.is_dir(), meta.is_symlink()) {
        (true, _) => (io::ErrorKind::IsADirectory, "it is a folder, not a file"),
        (_, true) => (io::ErrorKind::InvalidInput, "it is a link, not a file"),
        _ => (io::ErrorKind::InvalidInput, "it is not a regular file"),
    };
    Err(io::Error::new(kind, what))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    /// Checks that no link is followed and no pipe waited for. Without the flags, this test blocks at the pipe.
    #[test]
    fn nothing_is_followed_and_nothing_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(place("made"), place("link")).unwrap();
        fs::create_dir(place("folder")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(place("pipe")).status().unwrap().success());
        for open in [read, make, append, extend] {
            for (name, said) in [("link", "a link"), ("folder", "a folder"), ("pipe", "not a regular file")] {
                let error = open(&place(name)).unwrap_err();
                assert!(error.to_string().contains(said), "{error}");
            }
        }
        assert!(!place("made").exists());
        assert_eq!(read(&place("new")).unwrap_err().kind(), io::ErrorKind::NotFound);
        make(&place("new")).unwrap();
        assert!(read(&place("new")).is_ok() && append(&place("new")).is_ok());
    }

    /// Checks that what is put there between the check and the opening is refused, too.
    #[test]
    fn the_system_itself_is_told_not_to_follow() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("turning");
        let made = folder.path().join("made");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _turned = std::os::unix::fs::symlink(&made, &place);
                    let _turned_back = fs::remove_file(&place);
                }
            });
            for _ in 0..2_000 {
                let _either_way = make(&place);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(!made.exists());
    }
}
