//! Bounds of the disk that a download may fill.

use std::io;

use crate::base::memory::human;
use crate::common::*;

/// The space below a folder, part of which is left for everyone else, however long a server goes on sending.
pub struct DiskSpace {
    folder: PathBuf,
    ask: fn(&Path) -> io::Result<Disk>,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    pub free: u64,
    pub total: u64,
}

/// Bytes that stay free on a large disk; on a small one a twentieth does.
const LEFT: u64 = 1 << 30;

impl DiskSpace {
    /// Looks at the space for a file at this path, whose folder exists.
    pub fn of(place: &Path) -> Self {
        Self::asking(place, |folder| {
            let stats = fs4::statvfs(folder)?;
            Ok(Disk { free: stats.available_space(), total: stats.total_space() })
        })
    }

    fn asking(place: &Path, ask: fn(&Path) -> io::Result<Disk>) -> Self {
        Self { folder: place.parent().unwrap_or(Path::new("/")).to_path_buf(), ask }
    }

    /// Refuses `coming` bytes of `name` that would fill the disk.
    pub fn check(&self, coming: u64, name: &str) -> Result<()> {
        let disk = (self.ask)(&self.folder).map_err(|e| Error::io("ask for the free space of", &self.folder, &e))?;
        // Some file systems do not know how large they are.
        let usable = disk.free.saturating_sub(LEFT.min(disk.total / 20));
        if disk.total == 0 || coming <= usable {
            return Ok(());
        }
        let [coming, free] = [coming, disk.free].map(|bytes| human(bytes.into()));
        Err(err!(
            File,
            "the disk would be full: {name} has another {coming}, and {free} are free, part of which is left"
        )
        .hint(format!("free some space in {}, or choose another folder", self.folder.display())))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a disk of 100 MiB with room for 1,000 bytes, beside what is left of it.
    pub fn nearly_full(place: &Path) -> DiskSpace {
        DiskSpace::asking(place, |_| Ok(Disk { free: (5 << 20) + 1000, total: 100 << 20 }))
    }

    #[test]
    fn a_part_of_the_disk_is_left() {
        let room = nearly_full(Path::new("/x/y"));
        assert!(room.check(1000, "y").is_ok());
        let error = room.check(1001, "y").unwrap_err();
        assert_eq!(
            error.message,
            "the disk would be full: y has another 1001 bytes, and 5.0 MiB are free, part of which is left"
        );
        assert!(error.hint.unwrap().contains("/x"));
        let large = DiskSpace::asking(Path::new("/x"), |_| Ok(Disk { free: (1 << 30) + 5, total: 1 << 50 }));
        assert!(large.check(5, "x").is_ok() && large.check(6, "x").is_err());
        let unknown = DiskSpace::asking(Path::new("/x"), |_| Ok(Disk { free: 0, total: 0 }));
        assert!(unknown.check(1 << 60, "x").is_ok());
        let own = tempfile::tempdir().unwrap();
        assert!(DiskSpace::of(&own.path().join("x")).check(u64::MAX, "x").is_err());
    }
}
