//! The files of a source: one file, all text files of a folder, or those that match a pattern.

use globset::{GlobBuilder, GlobSet};
use walkdir::{DirEntry, WalkDir};

use crate::base::access::{self, Access};
use crate::base::disk;
use crate::common::*;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Plain,
    Records,
    /// Tab-separated values.
    Tabs,
    Parquet,
    Arrow,
}

const ENDINGS: [(&str, FileKind); 8] = [
    (".txt", FileKind::Plain),
    (".md", FileKind::Plain),
    (".jsonl", FileKind::Records),
    (".tsv", FileKind::Tabs),
    (".parquet", FileKind::Parquet),
    (".arrow", FileKind::Arrow),
    (".arrows", FileKind::Arrow),
    (".feather", FileKind::Arrow),
];

/// Returns the kind of a file by its extension, where that is known, and whether the file is compressed with gzip.
fn known(path: &Path) -> (Option<FileKind>, bool) {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (name, compressed) = name.strip_suffix(".gz").map_or((name.as_str(), false), |name| (name, true));
    let kind = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind);
    (kind.filter(|kind| !compressed || !matches!(kind, FileKind::Parquet | FileKind::Arrow)), compressed)
}

/// Returns the format of a file by the extension of its name, if it is known.
pub fn kind(path: &Path) -> Option<FileKind> {
    known(path).0
}

/// A file of text.
pub struct TextFile {
    pub path: PathBuf,
    /// Name in messages and in the origins of documents.
    pub shown: String,
    pub kind: FileKind,
    /// Whether the file is compressed with gzip.
    pub compressed: bool,
}

impl TextFile {
    /// Describes the file of a path; without a known extension it is plain text.
    pub fn new(path: PathBuf, shown: String) -> Self {
        let (kind, compressed) = known(&path);
        Self { path, shown, kind: kind.unwrap_or(FileKind::Plain), compressed }
    }
}

/// Finds the files that `source` names, at least one, sorted by path.
pub fn files(files: &Files, source: &str, task: &Task) -> Result<Vec<PathBuf>> {
    let path = Path::new(source);
    let place = files.access().to_read(path)?;
    if disk::is_dir(&place) {
        let found = below(files, path, task, |path| known(path).0.is_some() && !is_cached(path))?;
        return some(found, || {
            let endings = ENDINGS.map(|(ending, _)| ending).join(", ");
            err!(File, "expected files of text in the folder {source}, found none that ends in {endings}, plain or .gz")
                .hint("a pattern such as \"folder/**/*.rst\" reads files of any extension as plain text")
        });
    }
    if disk::exists(&place) || !source.contains(['*', '?', '[', '{']) {
        return if disk::exists(&place) { Ok(vec![path.to_path_buf()]) } else { Err(missing(files, path)) };
    }
    matching(files, source, task)
}

/// Finds the files that match a pattern. `*` is any part of a name, `**` any folders.
fn matching(files: &Files, pattern: &str, task: &Task) -> Result<Vec<PathBuf>> {
    let glob = GlobBuilder::new(pattern.trim_start_matches("./")).literal_separator(true).build();
    // A set of one pattern, since of a pattern that is too large it returns an error where a single pattern panics.
    let matcher = glob.and_then(|glob| GlobSet::builder().add(glob).build());
    let matcher =
        matcher.map_err(|e| err!(Argument, "expected a pattern of file names, found {pattern:?}: {}", e.kind()))?;
    // The folder that all of them are in: the path before the first wildcard.
    let plain = pattern.trim_start_matches("./");
    let plain = plain.find(['*', '?', '[', '{']).and_then(|at| plain.get(..at)).unwrap_or_default();
    let folder = plain.rfind('/').and_then(|at| plain.get(..=at)).unwrap_or("");
    let folder = Path::new(if folder.is_empty() { "." } else { folder });
    if !files.access().to_read(folder)?.is_dir() {
        return Err(missing(files, folder));
    }
    let found = below(files, folder, task, |path| matcher.is_match(path))?;
    some(found, || {
        err!(File, "expected files that fit the pattern {pattern}, found none")
            .hint("`*` matches a part of a name, `**` any folders; names that begin with a dot are skipped")
    })
}

fn some(found: Vec<PathBuf>, nothing: impl FnOnce() -> Error) -> Result<Vec<PathBuf>> {
    if found.is_empty() { Err(nothing()) } else { Ok(found) }
}

/// Finds the files below a folder that are wanted. Names that begin with a dot are skipped, and so is what may not be
/// read, silently, since a message would tell that it is there.
fn below(files: &Files, folder: &Path, task: &Task, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let place = files.access().to_read(folder)?;
    let mut walk = WalkDir::new(&place).follow_links(true).into_iter();
    let mut seen = VisibleEntries { access: files.access(), parent: PathBuf::new(), resolved: PathBuf::new() };
    let mut found = Vec::new();
    let mut lost = Vec::new();
    while let Some(entry) = walk.next() {
        task.check()?;
        match entry {
            Ok(entry) if entry.depth() > 0 && (is_hidden(entry.path()) || !seen.shows(&entry)?) => {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            }
            Ok(entry) => {
                let shown = shown(entry.path(), &place, folder);
                if entry.file_type().is_file() && wanted(&shown) {
                    found.push(shown);
                }
            }
            // A broken link, or one to a folder that it is in.
            Err(error) => match error.path().filter(|path| path.is_symlink()) {
                Some(link) if is_hidden(link) || !files.access().shows(link, true) => {}
                Some(link) => lost.push(shown(link, &place, folder)),
                None => return Err(err!(File, "cannot look through {}: {error}", folder.display())),
            },
        }
    }
    if let Some(first) = lost.iter().min() {
        task.say(&match lost.len() {
            1 => format!("skipped a symbolic link that cannot be followed: {}", first.display()),
            links => format!("skipped {links} symbolic links that cannot be followed, the first {}", first.display()),
        });
    }
    found.sort();
    Ok(found)
}

/// Tells whether a file holds what the library `datasets` computed from the files beside it, which is not text of its own.
fn is_cached(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("cache-") && name.ends_with(".arrow")
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Returns a path relative to the folder that was named.
fn shown(path: &Path, place: &Path, folder: &Path) -> PathBuf {
    let inside = path.strip_prefix(place).unwrap_or(path);
    if folder == Path::new(".") { inside.to_path_buf() } else { folder.join(inside) }
}

/// The entries that may be shown while folders are walked. Links to folders are resolved once for all of their entries.
struct VisibleEntries<'a> {
    access: &'a Access,
    parent: PathBuf,
    resolved: PathBuf,
}

impl VisibleEntries<'_> {
    fn shows(&mut self, entry: &DirEntry) -> Result<bool> {
        if entry.path_is_symlink() {
            return Ok(self.access.shows(entry.path(), true));
        }
        let parent = entry.path().parent().unwrap_or(Path::new("/"));
        if self.parent != parent {
            self.resolved = access::resolve(parent)?;
            self.parent = parent.to_path_buf();
        }
        Ok(self.access.shows(&self.resolved.join(entry.file_name()), false))
    }
}

/// Returns the error of a source that does not exist, with the nearest name beside it.
fn missing(files: &Files, path: &Path) -> Error {
    match files.open(path) {
        Err(error) => error.maybe_hint(among_sources(path)),
        Ok(_) => err!(File, "cannot read {}: it did not exist a moment ago", path.display()),
    }
}

/// Returns a hint if the name is nearly that of a source that needs no file.
fn among_sources(path: &Path) -> Option<String> {
    names::nearest(path.to_str()?, super::SOURCES).map(|near| format!("did you mean the source `{near}`?"))
}
