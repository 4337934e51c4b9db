//! The files of a page, in memory, by the names that `disk.rs` has for those of a disk. The page itself puts some there
//! ([`put`]), and scripts write below the output folder; all end with the page.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::TryLockError;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::clock::SystemTime;
use super::{Result, locked};
use crate::err;

type Bytes = Arc<Vec<u8>>;

/// A file or a folder by its absolute path.
#[derive(Clone)]
enum Entry {
    File(Arc<Mutex<Bytes>>),
    Folder,
}

fn entries() -> MutexGuard<'static, BTreeMap<PathBuf, Entry>> {
    static ENTRIES: Mutex<BTreeMap<PathBuf, Entry>> = Mutex::new(BTreeMap::new());
    locked(&ENTRIES)
}

fn entry(place: &Path) -> io::Result<Entry> {
    if place == Path::new("/") {
        return Ok(Entry::Folder);
    }
    entries().get(place).cloned().ok_or_else(|| io::Error::from(ErrorKind::NotFound))
}

/// Puts a file where scripts can read it, and makes the folders around it.
pub fn put(place: &Path, bytes: Vec<u8>) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        create_dir_all(folder)?;
    }
    entries().insert(place.into(), Entry::File(Arc::new(Mutex::new(bytes.into()))));
    Ok(())
}

/// Files that the program has inside where it is no page.
static INSIDE: Mutex<BTreeMap<String, &[u8]>> = Mutex::new(BTreeMap::new());

/// Puts a file that belongs inside the program, for as long as the page lives.
pub fn put_inside(name: &str, bytes: Vec<u8>) {
    locked(&INSIDE).insert(name.into(), bytes.leak());
}

/// Returns a file that belongs inside the program.
pub fn inside(name: &str) -> Result<&'static [u8]> {
    let found = locked(&INSIDE).get(name).copied();
    found.ok_or_else(|| err!(File, "this page was given no `{name}`").hint("whoever made the page puts it there"))
}

/// The bytes of a file, as they were when it was mapped.
#[derive(Debug, Clone)]
pub struct Mapping(Bytes);

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub fn map(file: &File) -> io::Result<Mapping> {
    Ok(Mapping(locked(&file.content).clone()))
}

pub fn give_back(_map: &Mapping, _place: Range<usize>) {}

pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    Ok(Path::new("/").join(path))
}

pub fn temp_dir() -> PathBuf {
    PathBuf::from("/tmp")
}

pub fn read_link(_place: &Path) -> io::Result<PathBuf> {
    Err(ErrorKind::InvalidInput.into())
}

pub fn exists(place: &Path) -> bool {
    entry(place).is_ok()
}

pub fn is_file(place: &Path) -> bool {
    matches!(entry(place), Ok(Entry::File(_)))
}

pub fn is_dir(place: &Path) -> bool {
    matches!(entry(place), Ok(Entry::Folder))
}

/// The kind and the length of an entry.
#[derive(Clone, Copy)]
pub struct Metadata(Option<u64>);

impl Metadata {
    pub fn is_file(&self) -> bool {
        self.0.is_some()
    }

    pub fn is_dir(&self) -> bool {
        self.0.is_none()
    }

    pub fn is_symlink(&self) -> bool {
        false
    }

    pub fn len(&self) -> u64 {
        self.0.unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn modified(&self) -> io::Result<std::time::SystemTime> {
        Err(ErrorKind::Unsupported.into())
    }
}

pub fn metadata(place: impl AsRef<Path>) -> io::Result<Metadata> {
    Ok(match entry(place.as_ref())? {
        Entry::File(content) => Metadata(Some(locked(&content).len() as u64)),
        Entry::Folder => Metadata(None),
    })
}

pub fn symlink_metadata(place: impl AsRef<Path>) -> io::Result<Metadata> {
    metadata(place)
}

/// An entry of a folder.
pub struct DirEntry(PathBuf);

impl DirEntry {
    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    pub fn file_name(&self) -> OsString {
        self.0.file_name().unwrap_or_default().into()
    }

    pub fn file_type(&self) -> io::Result<Metadata> {
        metadata(&self.0)
    }
}

pub fn read_dir(folder: impl AsRef<Path>) -> io::Result<std::vec::IntoIter<io::Result<DirEntry>>> {
    let folder = folder.as_ref();
    match entry(folder)? {
        Entry::File(_) => Err(ErrorKind::NotADirectory.into()),
        Entry::Folder => {
            let is_in = |place: &&PathBuf| place.parent() == Some(folder);
            let found: Vec<_> = entries().keys().filter(is_in).map(|place| Ok(DirEntry(place.clone()))).collect();
            Ok(found.into_iter())
        }
    }
}

pub fn create_dir_all(folder: impl AsRef<Path>) -> io::Result<()> {
    for place in folder.as_ref().ancestors().filter(|place| *place != Path::new("/")) {
        match entries().entry(place.into()).or_insert(Entry::Folder) {
            Entry::Folder => {}
            Entry::File(_) => return Err(ErrorKind::NotADirectory.into()),
        }
    }
    Ok(())
}

pub fn remove_file(place: impl AsRef<Path>) -> io::Result<()> {
    match entry(place.as_ref())? {
        Entry::File(_) => drop(entries().remove(place.as_ref())),
        Entry::Folder => return Err(ErrorKind::IsADirectory.into()),
    }
    Ok(())
}

pub fn remove_dir_all(folder: impl AsRef<Path>) -> io::Result<()> {
    entry(folder.as_ref())?;
    entries().retain(|place, _| !place.starts_with(folder.as_ref()));
    Ok(())
}

/// The ways of opening a file.
#[derive(Default)]
pub struct OpenOptions {
    creates: bool,
    appends: bool,
}

impl OpenOptions {
    pub fn read(&mut self, _is_read: bool) -> &mut Self {
        self
    }

    pub fn write(&mut self, _is_written: bool) -> &mut Self {
        self
    }

    pub fn truncate(&mut self, _is_emptied: bool) -> &mut Self {
        self
    }

    pub fn create(&mut self, creates: bool) -> &mut Self {
        self.creates = creates;
        self
    }

    pub fn append(&mut self, appends: bool) -> &mut Self {
        self.appends = appends;
        self
    }

    pub fn open(&self, place: impl AsRef<Path>) -> io::Result<File> {
        let place = place.as_ref();
        if self.creates && !exists(place) {
            put(place, Vec::new())?;
        }
        match entry(place)? {
            Entry::Folder => Err(ErrorKind::IsADirectory.into()),
            Entry::File(content) => {
                let at = if self.appends { locked(&content).len() } else { 0 };
                Ok(File { content, at: Mutex::new(at) })
            }
        }
    }
}

/// An open file: its content, which others may have open, too, and where it is read or written next.
pub struct File {
    content: Arc<Mutex<Bytes>>,
    at: Mutex<usize>,
}

impl File {
    pub fn options() -> OpenOptions {
        OpenOptions::default()
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        Ok(Metadata(Some(locked(&self.content).len() as u64)))
    }

    pub fn set_modified(&self, _time: SystemTime) -> io::Result<()> {
        Ok(())
    }

    /// Locks nothing: a page has no other program beside it.
    pub fn try_lock(&self) -> std::result::Result<(), TryLockError> {
        Ok(())
    }

    pub fn try_lock_shared(&self) -> std::result::Result<(), TryLockError> {
        Ok(())
    }

    pub fn unlock(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let content = locked(&self.content).clone();
        let mut at = locked(&self.at);
        let read = content.get(*at..).unwrap_or_default().read(into)?;
        *at += read;
        Ok(read)
    }
}

impl Write for &File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = locked(&self.content);
        let mut at = locked(&self.at);
        let content = Arc::make_mut(&mut content);
        let end = *at + bytes.len();
        content.resize(content.len().max(end), 0);
        content[*at..end].copy_from_slice(bytes);
        *at = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut at = locked(&self.at);
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => (*at as u64).checked_add_signed(by),
            SeekFrom::End(by) => (locked(&self.content).len() as u64).checked_add_signed(by),
        };
        let place = place.and_then(|place| usize::try_from(place).ok());
        *at = place.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        Ok(*at as u64)
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

/// A file under a temporary name, beside the one that it will be.
pub struct FileBeside {
    place: PathBuf,
    file: File,
}

impl FileBeside {
    pub fn new(folder: &Path, prefix: &str) -> io::Result<Self> {
        let place = folder.join(prefix);
        put(&place, Vec::new())?;
        Ok(Self { file: File::options().open(&place)?, place })
    }

    pub fn path(&self) -> &Path {
        &self.place
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, in place of the one that had it.
    pub fn rename(self, place: &Path) -> io::Result<()> {
        entries().insert(place.into(), Entry::File(self.file.content.clone()));
        Ok(())
    }
}

impl Drop for FileBeside {
    fn drop(&mut self) {
        entries().remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_listed_and_removed() {
        let folder = Path::new("/tests/a");
        let place = folder.join("b.txt");
        create_dir_all(folder).unwrap();
        let beside = FileBeside::new(folder, ".unfinished-").unwrap();
        beside.file().write_all(b"one\n").unwrap();
        beside.rename(&place).unwrap();
        File::options().append(true).create(true).open(&place).unwrap().write_all(b"two\n").unwrap();
        let mut file = File::options().read(true).open(&place).unwrap();
        let mapped = map(&file).unwrap();
        let mut text = String::new();
        file.seek(SeekFrom::End(-4)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), &mapped[..3]), ("two\n", &b"one"[..]));
        let names: Vec<_> = read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["b.txt"]);
        assert!(is_dir(folder) && is_file(&place) && exists(Path::new("/")) && read_dir(&place).is_err());
        assert_eq!(metadata(&place).unwrap().len(), 8);
        // A file that is mapped stays as it was for the one who mapped it.
        File::options().open(&place).unwrap().write_all(b"ONE").unwrap();
        assert_eq!(&mapped[..3], b"one");
        assert!(create_dir_all(place.join("deeper")).is_err() && remove_file(folder).is_err());
        remove_dir_all(Path::new("/tests")).unwrap();
        assert_eq!(File::options().open(&place).err().unwrap().kind(), ErrorKind::NotFound);
    }
}
