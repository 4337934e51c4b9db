//! The disk, as far as `files` needs it. A page has none: there files lie in memory, by `memory_disk.rs`, which has the same
//! names.

use std::io;
use std::ops::Range;
use std::path::Path;

use tempfile::NamedTempFile;

pub use std::env::temp_dir;
pub use std::fs::{
    DirEntry, File, Metadata, OpenOptions, create_dir_all, metadata, read_dir, read_link, remove_dir_all, remove_file,
    symlink_metadata,
};
pub use std::path::absolute;

/// The bytes of a file, of which only what is used is read.
pub type Mapping = memmap2::Mmap;

/// Maps an open file into memory.
pub fn map(file: &File) -> io::Result<Mapping> {
    // SAFETY: the map is read-only. If another process cuts the file short while it is mapped the system ends us
    // with SIGBUS, as it does every program that maps files; our own writes replace files, they never truncate.
    unsafe { Mapping::map(file) }
}

/// Releases the pages of a part of a mapped file, so that they no longer count as ours. It can still be read.
pub fn give_back(map: &Mapping, place: Range<usize>) {
    #[cfg(unix)]
    {
        // SAFETY: the map is read-only and of a file, so dropped pages are read from the file again on the next access.
        // A failure only costs memory.
        let _refused =
            unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, place.start, place.len()) };
    }
    #[cfg(not(unix))]
    let _ = (map, place);
}

pub fn exists(place: &Path) -> bool {
    place.exists()
}

pub fn is_file(place: &Path) -> bool {
    place.is_file()
}

pub fn is_dir(place: &Path) -> bool {
    place.is_dir()
}

/// A file under a temporary name, beside the one that it will be.
pub struct FileBeside(NamedTempFile);

impl FileBeside {
    pub fn new(folder: &Path, prefix: &str) -> io::Result<Self> {
        tempfile::Builder::new().prefix(prefix).tempfile_in(folder).map(Self)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives the file its name, in place of the one that had it, once all of it is on the disk.
    pub fn rename(self, place: &Path) -> io::Result<()> {
        self.file().sync_all()?;
        share_with_umask(self.file())?;
        self.0.persist(place).map_err(|e| e.error)?;
        if let Some(folder) = place.parent() {
            sync_folder(folder);
        }
        Ok(())
    }
}

/// Makes a result readable as the umask allows; temporary files are readable by their owner only.
#[cfg(unix)]
fn share_with_umask(file: &File) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    // The umask cannot be read without changing it, which other threads would see; a file made with it shows it.
    static MODE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let mode = *MODE.get_or_init(|| {
        let probe = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile();
        probe.and_then(|p| Ok(p.as_file().metadata()?.permissions().mode() & 0o666)).unwrap_or(0o644)
    });
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn share_with_umask(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Makes the renaming itself survive a power cut, where the file system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _not_all_file_systems_can = folder.sync_all();
    }
}
