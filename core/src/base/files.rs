//! The only place where files are opened: checked by `access`, written atomically, locked, and recorded with their
//! hashes.

mod lock;
mod own;
pub(crate) mod plain;
mod temporary;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::access::permissions::Permissions;
use super::access::{Access, Rules};
use super::disk::{self, File, FileBeside, Mapping};
use super::{Error, Result, Task, clock};
use crate::base::locked;
use crate::{bail, err};
use lock::{LOCK, Lock, TemporaryFile};

pub use lock::abandon;
pub use own::{append, end_of, mark_used};
pub use temporary::TemporaryFolder;

/// Bytes read between two checks for an interruption.
const PIECE: u64 = 1 << 20;

/// The bytes that a file may have beyond its reported length: some grow while they are read, and some system files are
/// reported as empty although they have content. Others are endless.
const SURPLUS: u64 = 16 << 20;

/// Number of times that a folder is tried which another run has locked, and the time between two of them.
const TURNS: usize = 250;
const TURN: Duration = Duration::from_millis(20);

/// Number of files that were refused and stay open until they are hashed.
const MOST_REFUSED: usize = 64;

/// Files that a run has read and written: paths as the run wrote them down, with the SHA-256 of the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    pub read: BTreeMap<PathBuf, String>,
    pub written: BTreeMap<PathBuf, String>,
}

/// The files of one run. Clones belong to the same run, for long readers.
#[derive(Clone)]
pub struct Files {
    access: Access,
    /// The interruption flag, which ends long reads and waits for a disk.
    task: Task,
    /// Whether reads are hashed; writes always are, at no extra cost.
    recording: bool,
    ledger: Arc<Mutex<Ledger>>,
    /// Inputs that were refused by their beginning and are hashed when the ledger is asked for.
    refused: Arc<Mutex<Vec<RefusedInput>>>,
    locks: Locks,
    /// Locks of the runs that this one is a part of.
    outer: Vec<Locks>,
}

/// An open input that is in no ledger yet.
struct RefusedInput {
    file: File,
    place: PathBuf,
}

/// A mapped input that is hashed once its beginning is known to be right. One that is dropped before was refused: it
/// belongs to the record of the run all the same, for which it is hashed.
pub struct UnhashedInput {
    files: Files,
    input: Option<RefusedInput>,
}

impl UnhashedInput {
    /// Hashes the input and notes it in the ledger of its run.
    pub fn note(mut self) -> Result<()> {
        let Some(RefusedInput { file, place }) = self.input.take() else { return Ok(()) };
        self.files.note(place.clone(), || self.files.hash_of(&file, &place))
    }
}

impl Drop for UnhashedInput {
    fn drop(&mut self) {
        let Some(input) = self.input.take() else { return };
        if !self.files.is_input(&input.place) {
            return;
        }
        let mut refused = locked(&self.files.refused);
        refused.retain(|other| other.place != input.place);
        refused.push(input);
        if refused.len() > MOST_REFUSED {
            drop(refused);
            self.files.note_refused();
        }
    }
}

/// Mapped inputs that are hashed once what they hold together is known to be right.
#[derive(Default)]
pub struct UnhashedInputs(Mutex<Vec<UnhashedInput>>);

impl UnhashedInputs {
    pub fn new(inputs: Vec<UnhashedInput>) -> Self {
        Self(Mutex::new(inputs))
    }

    /// Hashes the inputs and notes them in the ledger of their run, the first time that it is called.
    pub fn note(&self) -> Result<()> {
        let inputs = std::mem::take(&mut *locked(&self.0));
        inputs.into_iter().try_for_each(UnhashedInput::note)
    }
}

type Locks = Arc<Mutex<BTreeMap<PathBuf, Lock>>>;

impl Files {
    pub fn new(access: Access, recording: bool) -> Self {
        Self {
            access,
            task: Task::default(),
            recording,
            ledger: Arc::default(),
            refused: Arc::default(),
            locks: Arc::default(),
            outer: Vec::new(),
        }
    }

    /// Opens files by the default rules, and hashes none that are read; relative paths are written below `out`.
    pub fn unrecorded(out: &Path) -> Result<Self> {
        Ok(Self::new(Access::new(out, &Rules::default())?, false))
    }

    /// Makes reads end when this task is interrupted.
    pub fn heeding(self, task: &Task) -> Self {
        Self { task: task.clone(), ..self }
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the task that ends long reads.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Returns the files that have been read and written so far. Those that were refused before they were hashed are
    /// hashed now; what is interrupted meanwhile, or cannot be read any more, is left out.
    pub fn ledger(&self) -> Ledger {
        self.note_refused();
        locked(&self.ledger).clone()
    }

    /// Hashes the inputs that were refused, and notes those that were not read since.
    fn note_refused(&self) {
        let refused = std::mem::take(&mut *locked(&self.refused));
        for RefusedInput { file, place } in refused {
            if locked(&self.ledger).read.contains_key(&place) {
                continue;
            }
            if let Ok(hash) = self.hash_of(&file, &place) {
                let _noted = locked(&self.ledger).read.entry(place).or_insert(hash);
            }
        }
    }

    /// Returns the files of a run within this one: with a ledger and locks of its own, and in the folders that are
    /// locked already.
    pub fn within(&self, access: Access, task: &Task) -> Self {
        let outer = self.outer.iter().chain([&self.locks]).cloned().collect();
        Self { outer, ..Self::new(access, true).heeding(task) }
    }

    /// Adds what a run within this one read and wrote.
    pub fn note_all(&self, ledger: Ledger) {
        let mut own = locked(&self.ledger);
        own.read.extend(ledger.read);
        own.written.extend(ledger.written);
    }

    /// Opens a regular file for reading; returns its resolved path, too.
    pub fn open(&self, path: &Path) -> Result<(File, PathBuf)> {
        let place = self.access.to_read(path)?;
        let file = plain::read(&place).map_err(|e| self.not_readable(path, &e))?;
        Ok((file, place))
    }

    /// Returns whether a path exists; an error if it may not be read, whether it exists or not.
    pub fn has(&self, path: &Path) -> Result<bool> {
        Ok(disk::exists(&self.access.to_read(path)?))
    }

    /// Maps a file into memory, so that only what is used is read.
    pub fn map(&self, path: &Path) -> Result<Mapping> {
        self.map_as(path, Ok)
    }

    /// Maps a file of which `read` reads the beginning, before all of it is hashed for the record: a large file that is
    /// none of its kind is refused at once.
    pub fn map_as<T>(&self, path: &Path, read: impl FnOnce(Mapping) -> Result<T>) -> Result<T> {
        let (map, input) = self.map_unhashed(path)?;
        let read = read(map)?;
        input.note()?;
        Ok(read)
    }

    /// Maps a file whose hash is noted later, by the second value; if that is dropped instead, the file is one that was
    /// refused.
    pub fn map_unhashed(&self, path: &Path) -> Result<(Mapping, UnhashedInput)> {
        let (file, place) = self.open(path)?;
        let map = mapped(&file, path)?;
        Ok((map, UnhashedInput { files: self.clone(), input: Some(RefusedInput { file, place }) }))
    }

    /// Hashes all bytes of an open file.
    fn hash_of(&self, file: &File, place: &Path) -> Result<String> {
        let map = mapped(file, place)?;
        let mut hash = Sha256::new();
        for piece in map.chunks(PIECE as usize) {
            self.task.check()?;
            hash.update(piece);
        }
        super::memory::give_back(&map, 0..map.len());
        Ok(hex(&hash.finalize()))
    }

    pub fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let (bytes, place) = self.whole(path)?;
        self.note(place, || {
            let mut hash = Sha256::new();
            for piece in bytes.chunks(PIECE as usize) {
                self.task.check()?;
                hash.update(piece);
            }
            Ok(hex(&hash.finalize()))
        })?;
        Ok(bytes)
    }

    /// Computes the SHA-256 of a file, which need not fit into memory.
    pub fn sha256(&self, path: &Path) -> Result<String> {
        let (mut file, place) = self.open(path)?;
        let task = self.task.clone();
        let mut hash = Sha256::new();
        let name = path.to_path_buf();
        let bar = self.task.begin(&format!("hashing {}", path.display()), file.metadata().ok().map(|of| of.len()));
        let hash = self.task.apart(move || {
            pieces(&mut file, &task, &name, |piece| {
                hash.update(piece);
                bar.advance(piece.len() as u64);
                Ok(())
            })?;
            Ok(hex(&hash.finalize()))
        })?;
        self.note(place, || Ok(hash.clone()))?;
        Ok(hash)
    }

    /// Reads all bytes of a file, if they fit into memory; returns its resolved path, too.
    fn whole(&self, path: &Path) -> Result<(Vec<u8>, PathBuf)> {
        let (file, place) = self.open(path)?;
        let length = file.metadata().map_err(|e| Error::io("read", path, &e))?.len();
        super::memory::check(u128::from(length), || path.display().to_string())?;
        let task = self.task.clone();
        let name = path.to_path_buf();
        let bytes = self.task.apart(move || read_whole(file, length, &name, &task))?;
        Ok((bytes, place))
    }

    /// Reads the content of a text file; bytes that are not UTF-8 are an error with their position.
    pub fn text(&self, path: &Path) -> Result<String> {
        utf8(self.bytes(path)?).map_err(|e| e.within(path.display()))
    }

    /// Lists the names in a folder for completion: folders with a slash at the end, and without what may not be read.
    /// None if the folder cannot be read.
    pub fn names(&self, folder: &Path) -> Vec<String> {
        self.names_while(folder, &|| Ok(())).unwrap_or_default()
    }

    /// Lists the same names, of which there may be millions; an error of `check` between two of them ends it.
    pub fn names_while(&self, folder: &Path, check: &dyn Fn() -> Result<()>) -> Result<Vec<String>> {
        let Ok(place) = self.access.to_read(folder) else { return Ok(Vec::new()) };
        let entries = disk::read_dir(place).into_iter().flatten().flatten();
        let shown = |entry: &disk::DirEntry| {
            entry.file_type().is_ok_and(|kind| self.access.shows(&entry.path(), kind.is_symlink()))
        };
        let mut names = Vec::new();
        for entry in entries {
            check()?;
            if shown(&entry)
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(if disk::is_dir(&entry.path()) { name + "/" } else { name });
            }
        }
        Ok(names)
    }

    /// Reads the text of a script, which is not an input: the record of a run contains it.
    pub fn script(&self, path: &Path) -> Result<String> {
        let text = utf8(self.of_program(path)?).map_err(|e| e.within(path.display()))?;
        // Some editors begin a file with a byte order mark, which is not part of the text.
        match text.strip_prefix('\u{feff}') {
            Some(rest) => Ok(rest.into()),
            None => Ok(text),
        }
    }

    /// Reads the text of a script, if there is such a file that may be read.
    pub fn script_if_there(&self, path: &Path) -> Result<Option<String>> {
        let is_there = self.has(path).is_ok_and(|there| there && disk::is_file(path));
        is_there.then(|| self.script(path)).transpose()
    }

    /// Reads the bytes of a file that belongs to the program or to the script, and is no input of the run.
    pub fn of_program(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(self.whole(path)?.0)
    }

    /// Narrows access to the files to the permissions of a library, for its code.
    pub fn under(&self, permissions: Arc<Permissions>) -> Self {
        Self { access: self.access.under(permissions), ..self.clone() }
    }

    /// Records an input from another place than a file, such as object storage.
    pub fn note_input(&self, address: PathBuf, sha256: String) -> Result<()> {
        self.note(address, || Ok(sha256))
    }

    /// Records an output to another place than a file, such as object storage.
    pub fn note_output(&self, address: PathBuf, sha256: String) {
        locked(&self.ledger).written.insert(address, sha256);
    }

    /// Returns whether a file that is read is noted: files that the run wrote itself are not inputs.
    fn is_input(&self, place: &Path) -> bool {
        self.recording && !locked(&self.ledger).written.contains_key(place)
    }

    /// Records an input of a run.
    fn note(&self, place: PathBuf, hash: impl FnOnce() -> Result<String>) -> Result<()> {
        if self.is_input(&place) {
            let hash = hash()?;
            locked(&self.ledger).read.insert(place, hash);
        }
        Ok(())
    }

    /// Tells why a file cannot be read; if it is missing, with the nearest right name among its neighbours.
    fn not_readable(&self, path: &Path, error: &io::Error) -> Error {
        let plain = Error::io("read", path, error);
        if error.kind() != io::ErrorKind::NotFound {
            return plain;
        }
        let wanted = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let neighbours = self.names(folder);
        let near = super::names::nearest(wanted, neighbours.iter().map(|name| name.trim_end_matches('/')));
        plain.maybe_hint(near.map(|name| format!("did you mean `{}`?", path.with_file_name(name).display())))
    }

    /// Writes a file atomically: under a temporary name in the same folder, synced, then renamed. `fill` writes the
    /// content.
    ///
    /// The folder is made if it is missing, and locked until [`Files::release`], so that two runs cannot mix there.
    pub fn save(&self, path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
        let place = self.access.to_write(path)?;
        match disk::symlink_metadata(&place) {
            Ok(meta) if meta.is_dir() => bail!(File, "cannot write {}: it is a folder", path.display()),
            // Renaming over a device would put a plain file in its place.
            Ok(meta) if !meta.is_file() => bail!(File, "cannot write {}: it is not a regular file", path.display()),
            _ if place.file_name().is_some_and(|name| name == LOCK) => {
                bail!(File, "cannot write {}: the name is reserved for the lock file of a run", path.display())
            }
            _ => {}
        }
        let folder = place.parent().unwrap_or(Path::new("/")).to_path_buf();
        let failed = |e: io::Error| Error::io("write", path, &e);
        self.lock(&folder)?;
        let beside = FileBeside::new(&folder, lock::UNFINISHED).map_err(failed)?;
        let _passing = TemporaryFile::new(beside.path());
        let hash = {
            let mut tee = Tee { file: BufWriter::new(beside.file()), hash: Sha256::new(), failure: None };
            let filled = fill(&mut tee).and_then(|()| tee.flush().map_err(failed));
            // A full disk reported through three layers of encoders is hard to read; the system's own error is better.
            if let Some(failure) = tee.failure {
                return Err(failed(failure));
            }
            filled?;
            tee.hash.finalize()
        };
        beside.rename(&place).map_err(failed)?;
        locked(&self.ledger).written.insert(place.clone(), hex(&hash));
        Ok(place)
    }

    /// Saves content that is already in memory: [`Files::save`] for a text or a few bytes.
    pub fn save_whole(&self, path: &Path, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        self.save(path, |file| file.write_all(content.as_ref()).map_err(|e| Error::io("write", path, &e)))
    }

    /// Appends to a file that other programs read while it grows, and makes it with its folder if it is missing. It is no
    /// result of the run, so no record has it; and it is not written beside and renamed, which would copy all that is
    /// there for a few more lines. A killed run leaves it without its last ones.
    pub fn append(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let place = self.access.to_write(path)?;
        let failed = |e: io::Error| Error::io("write", path, &e);
        if let Some(folder) = place.parent() {
            disk::create_dir_all(folder).map_err(failed)?;
        }
        plain::extend(&place).and_then(|mut file| file.write_all(bytes)).map_err(failed)
    }

    /// Makes a folder for other programs, with those around it, unless it is there.
    pub fn make_folder(&self, path: &Path) -> Result<()> {
        let place = self.access.to_write(path)?;
        disk::create_dir_all(&place).map_err(|e| Error::io("write", path, &e))
    }

    /// Removes a file that this program wrote; a missing one counts as removed.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let place = self.access.to_write(path)?;
        match disk::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
            _ => {
                locked(&self.ledger).written.remove(&place);
                Ok(())
            }
        }
    }

    /// Removes a folder that this program wrote, with all that is in it.
    pub fn discard(&self, folder: &Path) -> Result<()> {
        let place = self.access.to_write(folder)?;
        locked(&self.locks).retain(|locked, _| !locked.starts_with(&place));
        match disk::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", folder, &error)),
            _ => {
                locked(&self.ledger).written.retain(|written, _| !written.starts_with(&place));
                Ok(())
            }
        }
    }

    /// Locks the folder for this run, or says who has locked it.
    pub fn lock(&self, folder: &Path) -> Result<()> {
        if self.try_lock(folder)? {
            return Ok(());
        }
        Err(err!(File, "another run is writing into {}", folder.display())
            .hint("wait for it, or give this run another folder with --out"))
    }

    /// Locks the folder of a file that is to be written, and waits some seconds for another run that writes there: for
    /// folders that many share, and write into only for a moment.
    pub fn lock_in_turn(&self, path: &Path) -> Result<()> {
        let place = self.access.to_write(path)?;
        let folder = place.parent().unwrap_or(Path::new("/"));
        for _ in 0..TURNS {
            if self.try_lock(folder)? {
                return Ok(());
            }
            self.task.check()?;
            clock::sleep(TURN);
        }
        self.lock(folder)
    }

    /// Locks the folder for this run; returns false where another one has locked it.
    fn try_lock(&self, folder: &Path) -> Result<bool> {
        let mut locks = locked(&self.locks);
        if locks.contains_key(folder) || self.outer.iter().any(|outer| locked(outer).contains_key(folder)) {
            return Ok(true);
        }
        disk::create_dir_all(folder).map_err(|e| Error::io("write into", folder, &e))?;
        let Some(lock) = Lock::take(folder)? else { return Ok(false) };
        locks.insert(folder.to_path_buf(), lock);
        Ok(true)
    }

    /// Returns whether a process, this one or another, writes into the folder.
    pub fn is_locked(&self, folder: &Path) -> Result<bool> {
        let place = self.access.to_read(folder)?;
        lock::is_held(&place).map_err(|e| Error::io("read the lock of", folder, &e))
    }

    /// Releases all folders, as a session does after each line.
    pub fn release(&self) {
        locked(&self.locks).clear();
    }
}

/// Maps an open file into memory.
fn mapped(file: &File, path: &Path) -> Result<Mapping> {
    disk::map(file).map_err(|e| Error::io("map", path, &e))
}

/// Reads the whole content of a file with this reported length.
fn read_whole(mut file: impl Read, length: u64, path: &Path, task: &Task) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = usize::try_from(length).ok().and_then(|length| bytes.try_reserve_exact(length).ok());
    room.ok_or_else(|| err!(Memory, "there is not enough memory for the {length} bytes of {}", path.display()))?;
    loop {
        task.check()?;
        match Read::take(&mut file, PIECE).read_to_end(&mut bytes) {
            Ok(count) if count as u64 == PIECE => {}
            Ok(_) => return Ok(bytes),
            Err(error) => wait_or(error, path)?,
        }
        if bytes.len() as u64 > length.saturating_add(SURPLUS) {
            return Err(err!(
                File,
                "cannot read {}: it is longer than the {length} bytes that the system reports",
                path.display()
            )
            .hint("some system files are endless; copy the part that you need into a file"));
        }
    }
}

/// Reads a file to its end, piece by piece.
pub(crate) fn pieces(
    file: &mut impl Read,
    task: &Task,
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut piece = vec![0; PIECE as usize];
    loop {
        task.check()?;
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => each(piece.get(..count).unwrap_or_default())?,
            Err(error) => wait_or(error, path)?,
        }
    }
}

/// Waits a little if nothing can be read yet, as with some system files.
fn wait_or(error: io::Error, path: &Path) -> Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => {}
        io::ErrorKind::WouldBlock => clock::sleep(Duration::from_millis(20)),
        _ => return Err(Error::io("read", path, &error)),
    }
    Ok(())
}

/// A writer to the file and the hash at once, which remembers the system's error.
struct Tee<'a> {
    file: BufWriter<&'a File>,
    hash: Sha256,
    failure: Option<io::Error>,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(written) => {
                self.hash.update(&bytes[..written]);
                Ok(written)
            }
            Err(error) => {
                self.failure = Some(io::Error::from(error.kind()));
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns the bytes as text; an error names where they stop being text.
pub fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
        err!(Format, "expected UTF-8 text, found byte 0x{:02x} on line {line}", e.as_bytes()[valid])
            .hint("save the file as UTF-8")
    })
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::access::Rules;
    use super::*;

    fn files(folder: &Path) -> Files {
        Files::new(Access::new(&folder.join("out"), &Rules::default()).unwrap(), true)
    }

    fn save(files: &Files, path: &str, text: &str) -> Result<PathBuf> {
        files.save(Path::new(path), |w| w.write_all(text.as_bytes()).map_err(|e| err!(File, "{e}")))
    }

    #[test]
    fn a_saved_file_is_read_back_by_name_and_both_are_in_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let place = save(&files, "a/b.txt", "hello").unwrap();
        assert_eq!(files.text(Path::new("a/b.txt")).unwrap(), "hello");
        let ledger = files.ledger();
        assert_eq!(ledger.written[&place], hex(&Sha256::digest(b"hello")));
        // A file that the run wrote first is not an input; one that it read before it wrote there is.
        assert!(ledger.read.is_empty());
        fs::write(place.with_file_name("count.txt"), "1").unwrap();
        files.text(Path::new("a/count.txt")).unwrap();
        save(&files, "a/count.txt", "2").unwrap();
        let before = hex(&Sha256::digest(b"1"));
        assert_eq!(files.ledger().read.values().collect::<Vec<_>>(), [&before]);
    }

    #[test]
    fn devices_and_the_lock_itself_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        save(&files, "kept.txt", "1").unwrap();
        assert!(save(&files, LOCK, "mine").unwrap_err().message.contains("lock"));
        #[cfg(unix)]
        {
            let rules = Rules { allow_write: vec!["/dev".into()], ..Rules::default() };
            let files = Files::new(Access::new(folder.path(), &rules).unwrap(), false);
            assert!(save(&files, "/dev/null", "x").unwrap_err().message.contains("not a regular file"));
        }
    }

    #[test]
    fn what_is_there_in_passing_is_known_while_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let below = |place: &Path| lock::passing_below(place);
        let out = files.access().out().to_path_buf();
        files
            .save(Path::new("a.txt"), |_| {
                assert_eq!(below(&out), 2, "the unfinished file and the lock");
                Ok(())
            })
            .unwrap();
        assert_eq!(below(&out), 1, "the lock alone");
        files.release();
        assert_eq!(below(&out), 0);
    }

    #[test]
    fn what_is_appended_stays_below_the_output_folder_and_out_of_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        for line in ["one\n", "two\n"] {
            files.append(Path::new("a/grows"), line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("out/a/grows")).unwrap(), "one\ntwo\n");
        assert_eq!(files.ledger(), Ledger::default());
        let beyond = folder.path().join("grows");
        assert_eq!(files.append(&beyond, b"three\n").unwrap_err().kind, crate::base::Kind::Access);
        assert!(!beyond.exists());
    }

    #[test]
    fn a_failed_save_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let place = save(&files, "kept.txt", "first").unwrap();
        let failed = files.save(Path::new("kept.txt"), |w| {
            w.write_all(b"half").map_err(|e| err!(File, "{e}"))?;
            Err(err!(Numeric, "the computation failed"))
        });
        assert_eq!(failed.unwrap_err().message, "the computation failed");
        assert_eq!(fs::read_to_string(&place).unwrap(), "first");
        files.release();
        let left: Vec<_> = fs::read_dir(place.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["kept.txt"]);
    }

    #[test]
    fn a_second_run_in_the_same_folder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = files(folder.path());
        let second = files(folder.path());
        save(&first, "a.txt", "1").unwrap();
        assert!(save(&second, "b.txt", "2").unwrap_err().message.contains("another run"));
        first.release();
        save(&second, "b.txt", "2").unwrap();
    }

    #[test]
    fn whoever_takes_turns_writes_once_the_other_run_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = files(folder.path());
        let second = files(folder.path());
        save(&first, "a.txt", "1").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                first.release();
            });
            second.lock_in_turn(Path::new("b.txt")).unwrap();
        });
        save(&second, "b.txt", "2").unwrap();
        assert!(save(&first, "a.txt", "3").unwrap_err().message.contains("another run"));
    }

    #[test]
    fn a_wrong_name_is_answered_with_its_neighbour_and_a_wrong_byte_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.npy"), [1, 2]).unwrap();
        fs::write(folder.path().join("latin.txt"), b"one\ncaf\xe9\n").unwrap();
        let files = files(folder.path());
        let missing = files.bytes(&folder.path().join("dat.npy")).unwrap_err();
        assert!(missing.hint.unwrap().contains("data.npy"));
        let latin = files.text(&folder.path().join("latin.txt")).unwrap_err();
        assert!(latin.message.ends_with("expected UTF-8 text, found byte 0xe9 on line 2"), "{}", latin.message);
    }

    #[test]
    fn a_file_that_is_refused_is_hashed_when_the_ledger_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad");
        std::fs::write(&bad, b"not it").unwrap();
        let recording = files(folder.path());
        let refused = recording.map_as(&bad, |_| -> Result<()> { bail!(Format, "not it") });
        assert_eq!(refused.unwrap_err().message, "not it");
        assert!(locked(&recording.ledger).read.is_empty());
        // What is written in its place afterwards is another file.
        std::fs::write(folder.path().join("other"), b"else").unwrap();
        std::fs::rename(folder.path().join("other"), &bad).unwrap();
        let hash = hex(&Sha256::digest(b"not it"));
        assert_eq!(recording.ledger().read.into_values().collect::<Vec<_>>(), [hash]);
        assert!(recording.map_as(&bad, |map| Ok(map.len())).is_ok_and(|length| length == 4));
        let hash = hex(&Sha256::digest(b"else"));
        assert_eq!(recording.ledger().read.into_values().collect::<Vec<_>>(), [hash]);
    }

    /// Checks that hashing is interrupted: a sparse file of a hundred gigabytes took minutes, without a check for an
    /// interruption.
    #[cfg(unix)]
    #[test]
    fn hashing_is_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        File::create(&path).unwrap().set_len(100 << 30).unwrap();
        let task = Task::default();
        let files = files(folder.path()).heeding(&task);
        for hashed in [
            |files: &Files, path: &Path| files.map(path).map(drop),
            |files: &Files, path: &Path| files.sha256(path).map(drop),
        ] {
            task.flag().store(false, std::sync::atomic::Ordering::Relaxed);
            let raised = kit::raise_after(task.flag(), 30);
            assert_eq!(hashed(&files, &path).unwrap_err(), Error::interrupted());
            raised.join().unwrap();
        }
    }

    /// A reader that returns this many bytes, and then `WouldBlock` for ever.
    struct Slow(usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.min(into.len()) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => {
                    self.0 -= count;
                    Ok(count)
                }
            }
        }
    }

    #[test]
    fn waiting_for_a_file_is_interrupted() {
        for work in [
            |task: &Task| read_whole(Slow(10), 0, Path::new("x"), task).map(drop),
            |task: &Task| pieces(&mut Slow(10), task, Path::new("x"), |_| Ok(())),
        ] {
            let task = Task::default();
            let raised = kit::raise_after(task.flag(), 30);
            assert_eq!(work(&task).unwrap_err(), Error::interrupted());
            raised.join().unwrap();
        }
    }

    #[test]
    fn a_file_without_an_end_is_read_up_to_a_limit() {
        let task = Task::default();
        let error = read_whole(io::repeat(b'x'), 0, Path::new("x"), &task).unwrap_err();
        assert_eq!(error.message, "cannot read x: it is longer than the 0 bytes that the system reports");
        // A file that grows a little is read with its growth.
        let grown = read_whole(io::repeat(b'x').take(3 * PIECE + 7), 5, Path::new("x"), &task).unwrap();
        assert_eq!(grown.len() as u64, 3 * PIECE + 7);
        assert_eq!(read_whole(io::empty(), 5, Path::new("x"), &task).unwrap(), b"");
    }

    /// Checks that system files are read, which report a length of 0 although they have content.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_the_system_is_read_where_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules { allow_read: vec!["/proc".into()], ..Rules::default() };
        let files = Files::new(Access::new(folder.path(), &rules).unwrap(), false);
        assert!(files.text(Path::new("/proc/self/status")).unwrap().starts_with("Name:"));
    }
}
