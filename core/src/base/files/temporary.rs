//! Folders for what a run needs only while it lasts.

use std::path::{Path, PathBuf};

use super::Files;
use super::lock::{LOCK, TemporaryFile, UNFINISHED};
use crate::base::{Error, Result, disk};
use crate::err;

/// Number of temporary folders of one name that an output folder may have at a time.
const MOST: usize = 1000;

/// A folder in the output folder that is removed with all that is in it when this is dropped, or when the process ends.
/// No record has what is written there.
pub struct TemporaryFolder {
    /// The files of the run, with a ledger and locks of their own.
    pub files: Files,
    pub path: PathBuf,
    _until_dropped: TemporaryFile,
}

impl TemporaryFolder {
    /// Makes an empty folder with `name` in its name, or takes one that a killed run has left.
    pub fn new(files: &Files, name: &str) -> Result<Self> {
        let files = files.within(files.access().clone(), files.task());
        for number in 1..=MOST {
            let path = files.access().to_write(Path::new(&format!("{UNFINISHED}{name}-{number}")))?;
            // Whoever uses the folder holds its lock, in this process, too.
            if files.try_lock(&path)? {
                let passing = TemporaryFile::new(&path);
                empty(&path).map_err(|e| Error::io("empty", &path, &e))?;
                return Ok(Self { files, path, _until_dropped: passing });
            }
        }
        let out = files.access().out().display();
        Err(err!(File, "{out} has {MOST} temporary folders that are in use").hint("choose another folder with --out"))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run that makes such a folder.
        let _stays = self.files.discard(&self.path);
    }
}

/// Removes what is in a folder, but for its lock.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in disk::read_dir(folder)? {
        let entry = entry?;
        let place = entry.path();
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() { disk::remove_dir_all(place)? } else { disk::remove_file(place)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::{Access, Rules};

    #[test]
    fn a_temporary_folder_leaves_nothing_and_takes_what_a_killed_run_has_left() {
        let out = tempfile::tempdir().unwrap();
        let files = Files::new(Access::new(out.path(), &Rules::default()).unwrap(), true);
        let left = out.path().join(format!("{UNFINISHED}store-1"));
        std::fs::create_dir_all(left.join("within")).unwrap();
        std::fs::write(left.join("shard"), "of another run").unwrap();
        let one = TemporaryFolder::new(&files, "store").unwrap();
        assert_eq!(one.path.file_name(), left.file_name());
        let there = std::fs::read_dir(&left).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(there.collect::<Vec<_>>(), [LOCK]);
        let other = TemporaryFolder::new(&files, "store").unwrap();
        assert_ne!(one.path, other.path);
        one.files.save_whole(&one.path.join("a"), "1").unwrap();
        assert_eq!(one.files.text(&one.path.join("a")).unwrap(), "1");
        drop(one);
        drop(other);
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
        assert_eq!(files.ledger(), super::super::Ledger::default());
    }
}
