//! The project that a script belongs to: the folder above it with a `microtome.toml`, and the libraries that it may import.

use std::cell::OnceCell;
use std::path::Component;

use super::graph::{Library, LibraryContent};
use super::lock::{Lock, LockedLibrary};
use super::manifest::{self, Dependency, LibrarySource, Manifest, ManifestError, NamedDependency};
use super::{LOCK, MANIFEST};
use crate::script::prelude::*;

/// A reader of text files, None where there is no file: from the disk, or from the record of a run.
pub type TextFileReader<'a> = &'a dyn Fn(&Path) -> Result<Option<String>>;

pub struct Project {
    /// The folder of the manifest.
    pub root: PathBuf,
    pub manifest: Manifest,
    /// Every file that was read, by the name that records know it by.
    pub texts: BTreeMap<String, String>,
    own: Option<Rc<Library>>,
    /// The libraries that the project itself may import.
    needs: BTreeMap<String, Dependency>,
    libraries: BTreeMap<String, Rc<Library>>,
}

/// Finds the folder with the manifest that a script in `folder` belongs to, and the manifest's text.
pub fn found(folder: &Path, read: TextFileReader) -> Result<Option<(PathBuf, String)>> {
    // An empty path is the current folder, which the system does not know.
    let folder = cleaned(&std::path::absolute(Path::new(".").join(folder)).unwrap_or_else(|_| folder.into()));
    for above in folder.ancestors() {
        if let Some(text) = read(&above.join(MANIFEST))? {
            return Ok(Some((above.to_path_buf(), text)));
        }
    }
    Ok(None)
}

impl Project {
    /// Loads the project with this manifest, and its libraries as the lock file has them.
    pub fn load(root: PathBuf, text: String, read: TextFileReader) -> Result<Self, Box<ManifestError>> {
        let name = path_text(&root.join(MANIFEST));
        let manifest = Manifest::parse(&text, &name)?;
        let needs = manifest.dependencies()?;
        let own = manifest.name.as_ref().map(|own| {
            Rc::new(Library {
                name: own.clone(),
                shown: path_text(&root),
                manifest: name.clone(),
                content: LibraryContent::Folder(root.clone()),
                needs: needs.keys().cloned().collect(),
                touches: manifest.touches(),
            })
        });
        let texts = BTreeMap::from([(name, text)]);
        let mut project = Self { root, manifest, texts, own, needs, libraries: BTreeMap::new() };
        if !project.needs.is_empty() {
            project.read_lock(read)?;
        }
        Ok(project)
    }

    fn read_lock(&mut self, read: TextFileReader) -> Result<(), Box<ManifestError>> {
        let place = self.root.join(LOCK);
        let text = read(&place)?.ok_or_else(|| {
            err!(File, "{} is missing, which says what the libraries of {MANIFEST} may touch", path_text(&place))
                .hint("run `microtome add` in that folder")
        })?;
        let lock = Lock::parse(&text, &path_text(&place))?;
        self.texts.insert(path_text(&place), text);
        for (name, wanted) in &self.needs {
            agree(&lock, name, wanted, &self.root)?;
        }
        for locked in &lock.libraries {
            for need in &locked.needs {
                if lock.get(need).is_none() {
                    let name = &locked.name;
                    return Err(err!(File, "{LOCK} has `{name}`, and not `{need}`, which that needs")
                        .hint(ANEW)
                        .into());
                }
            }
            let library = self.library(locked, read)?;
            self.libraries.insert(locked.name.clone(), library.into());
        }
        Ok(())
    }

    fn library(&mut self, locked: &LockedLibrary, read: TextFileReader) -> Result<Library, Box<ManifestError>> {
        let name = locked.name.clone();
        let version = &locked.version;
        let granted = locked.granted();
        let needs: BTreeSet<String> = locked.needs.iter().cloned().collect();
        let folder = match locked.source()? {
            LibrarySource::Folder(path) => cleaned(&self.root.join(path)),
            // Its bytes cannot change, so what it touches is what was granted.
            LibrarySource::Archive { hash, .. } => {
                let shown = format!("{name}@{version}");
                let manifest = format!("{shown}/{MANIFEST}");
                let texts = OnceCell::new();
                let content = LibraryContent::Archive { hash, texts };
                return Ok(Library { name, shown, manifest, content, needs, touches: granted });
            }
        };
        let place = folder.join(MANIFEST);
        let file = path_text(&place);
        let text = read(&place)?
            .ok_or_else(|| err!(File, "there is no {file}, where {LOCK} has the library `{name}`").hint(ANEW))?;
        let manifest = Manifest::parse(&text, &file)?;
        let (found, now) = manifest.named(&file)?;
        if found != name || now.to_string() != *version {
            let error = err!(File, "{LOCK} has `{name}` {version}, and {file} is `{found}` {now}");
            return Err(error.hint(ANEW).into());
        }
        let more = manifest.touches().beyond(&granted);
        if !more.is_empty() {
            return Err(err!(
                Access,
                "the library `{name}` wants to touch more than it was granted: {}",
                more.join(", ")
            )
            .hint("run `microtome add`, which shows it and asks")
            .into());
        }
        if manifest.dependencies()?.keys().ne(&needs) {
            return Err(err!(File, "{LOCK} knows other dependencies of `{name}` than {file}").hint(ANEW).into());
        }
        self.texts.insert(file.clone(), text);
        let shown = path_text(&folder);
        let touches = manifest.touches();
        Ok(Library { name, shown, manifest: file, content: LibraryContent::Folder(folder), needs, touches })
    }

    /// Returns the library that a script of the project means by this name: the project itself, or one that its
    /// manifest names.
    pub fn wanted(&self, name: &str) -> Option<Rc<Library>> {
        match &self.own {
            Some(own) if own.name == name => Some(own.clone()),
            _ => self.needs.get(name).and_then(|_| self.libraries.get(name)).cloned(),
        }
    }

    /// Returns the library that the code of a library means by this name.
    pub fn wanted_by(&self, library: &Library, name: &str) -> Option<Rc<Library>> {
        match &self.own {
            Some(own) if own.name == name && library.name == name => Some(own.clone()),
            _ if library.name == name || library.needs.contains(name) => self.libraries.get(name).cloned(),
            _ => None,
        }
    }

    /// Lists the names that a script of the project may import.
    pub fn importable(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(|own| own.name.as_str()).chain(self.needs.keys().map(String::as_str))
    }
}

/// Hint about a lock file that does not fit.
const ANEW: &str = "run `microtome add`, which writes microtome.lock anew";

/// Refuses a lock file that has another library of this name than the one that the manifest in `root` asks for.
fn agree(lock: &Lock, name: &str, wanted: &Dependency, root: &Path) -> Result<()> {
    let Some(locked) = lock.get(name) else {
        let near = names::nearest(name, lock.libraries.iter().map(|locked| locked.name.as_str()));
        let near = near.map(|near| format!("; it has `{near}`")).unwrap_or_default();
        return Err(err!(File, "{MANIFEST} needs `{name}`, and {LOCK} does not have it{near}").hint(ANEW));
    };
    let (is_wanted, wanted) = match wanted {
        Dependency::Source(source) => {
            (locked.index.is_none() && locked.source()? == *source, format!("from {}", source_text(source)))
        }
        Dependency::Named(NamedDependency { versions, index }) => {
            let index = index.as_ref().map(|index| exact_index(index, root, root));
            let is_there = |index: &String| locked.index.as_ref().is_some_and(|found| same_index(found, index, root));
            let is_wanted = index.as_ref().is_some_and(is_there) && versions.matches(&locked.version()?);
            let index = index.map_or("an index that it does not name".into(), |index| format!("the index {index}"));
            (is_wanted, format!("{versions} from {index}"))
        }
    };
    if !is_wanted {
        let found = place_text(locked)?;
        bail!(File, "{MANIFEST} wants `{name}` {wanted}, and {LOCK} has {} from {found}; {ANEW}", locked.version);
    }
    Ok(())
}

/// Writes in words where a locked library is from.
pub fn place_text(locked: &LockedLibrary) -> Result<String> {
    match &locked.index {
        Some(index) => Ok(format!("the index {index}")),
        None => locked.source().map(|source| source_text(&source)),
    }
}

/// Writes the place of an index as the lock file has it: an address, or a folder. One that is counted from `base` is
/// written from the folder of the lock file, `root`, and an absolute one as it is, so that both mean in a clone of the
/// project what they meant before.
pub fn exact_index(index: &str, base: &Path, root: &Path) -> String {
    if manifest::is_address(index) {
        return index.trim_end_matches('/').into();
    }
    let folder = cleaned(&base.join(index));
    if Path::new(index).is_absolute() { folder.display().to_string() } else { folder_text(&folder, root) }
}

/// Writes an index of the command line, typed in the folder `here`, as the project in `root` keeps it: an absolute
/// path to a folder below the project or beside it is counted from there, since a clone has that folder elsewhere.
pub fn typed_index(index: &str, here: &Path, root: &Path) -> String {
    let exact = exact_index(index, here, root);
    let from_root = folder_text(Path::new(&exact), root);
    let is_near = Path::new(&exact).is_absolute() && !Path::new(&from_root).starts_with("../..");
    if is_near { from_root } else { exact }
}

/// Returns whether two places of indexes, as the lock file in `root` has them, are one.
pub fn same_index(one: &str, other: &str, root: &Path) -> bool {
    let is_folder = |index: &str| !manifest::is_address(index);
    one == other || is_folder(one) && is_folder(other) && cleaned(&root.join(one)) == cleaned(&root.join(other))
}

/// Writes a folder as it is seen from another one.
pub fn folder_text(folder: &Path, from: &Path) -> String {
    match relative(folder, from).display().to_string() {
        here if here.is_empty() => ".".into(),
        text => text,
    }
}

/// Writes a source in words.
pub fn source_text(source: &LibrarySource) -> String {
    match source {
        LibrarySource::Folder(path) => path.clone(),
        LibrarySource::Archive { address, hash } => format!("{address} (SHA-256 {hash})"),
    }
}

/// Returns a path without `.` and `..`, taken as it is written.
pub fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean
}

/// Writes a path as people see it and records know it: from the working folder.
pub fn path_text(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    relative(path, &here).display().to_string()
}

/// Returns the way from a folder to a path, both absolute; the path itself where they have no folder in common.
pub fn relative(path: &Path, from: &Path) -> PathBuf {
    let common = path.components().zip(from.components()).take_while(|(one, other)| one == other).count();
    if common < 2 {
        return path.to_path_buf();
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(path.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_where_one_stands() {
        let from = |path: &str| relative(Path::new(path), Path::new("/home/me/work")).display().to_string();
        assert_eq!(from("/home/me/work/a/b"), "a/b");
        assert_eq!(from("/home/me/heads/lib"), "../heads/lib");
        assert_eq!(from("/home/me/work"), "");
        assert_eq!(from("/elsewhere/x"), "/elsewhere/x");
    }

    #[test]
    fn an_index_has_one_name_however_it_is_written() {
        let exact = |index: &str| exact_index(index, Path::new("/home/me/heads"), Path::new("/home/me/work"));
        assert_eq!(exact("https://x.org/index/"), "https://x.org/index");
        assert_eq!(exact("./../index/"), "../index");
        assert_eq!(exact("../work"), ".");
        assert_eq!(exact("../../all/index"), "../../all/index");
        assert_eq!(exact("/home/me/heads/../index"), "/home/me/index");
    }

    #[test]
    fn an_index_that_is_typed_is_found_by_a_clone_if_it_lies_near() {
        let typed = |index: &str| typed_index(index, Path::new("/home/me/work/deep"), Path::new("/home/me/work"));
        for (index, kept) in [
            ("https://x.org/index/", "https://x.org/index"),
            ("/home/me/work/index", "index"),
            ("/home/me/index/", "../index"),
            ("/home/me/all/index", "../all/index"),
            ("/home/all/index", "/home/all/index"),
            ("/srv/index", "/srv/index"),
            // What is typed from where one is stays so, however far it leads.
            ("../../index", "../index"),
            ("../../../all/index", "../../all/index"),
        ] {
            assert_eq!(typed(index), kept, "{index}");
        }
        let same = |one: &str, other: &str| same_index(one, other, Path::new("/home/me/work"));
        assert!(same("../../all/index", "/home/all/index") && same(".", "/home/me/work"));
        assert!(!same("../index", "index") && !same("https://x.org/a", "https://x.org/b"));
    }
}
