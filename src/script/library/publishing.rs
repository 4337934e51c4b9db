//! Publishing: a library's archive and entry are put into an index that is a folder, and a version is withdrawn from
//! it. What serves the folder, if anything does, is nobody's business here.

use semver::{Version, VersionReq};

use super::index::{self, ALL, Entry, HEAD, Index, LIBRARIES, LINES, Requirement};
use super::manifest::{self, Manifest};
use super::project::{folder_text, path_text};
use super::{MANIFEST, archive, packing};
use crate::script::prelude::*;

/// The folder of the archives.
const ARCHIVES: &str = "archives";

/// An index in a folder.
pub struct IndexFolder<'a> {
    folder: PathBuf,
    index: Index<'a>,
    files: &'a Files,
    task: &'a Task,
}

impl<'a> IndexFolder<'a> {
    /// Opens an index in a folder, after waiting for others that write into it.
    pub fn open(folder: PathBuf, files: &'a Files, task: &'a Task) -> Result<Self> {
        let here = std::env::current_dir().unwrap_or_default();
        let index = Index::open(&folder_text(&folder, &here), &here, files, task)?;
        files.lock_in_turn(&folder.join(HEAD))?;
        Ok(Self { folder, index, files, task })
    }

    /// Puts the library of a folder into the index. Returns its entry.
    pub fn publish(&self, library: &Path) -> Result<Entry> {
        let place = library.join(MANIFEST);
        let file = path_text(&place);
        let manifest = Manifest::parse(&self.files.script(&place)?, &file)?;
        let (name, version) = manifest.named(&file)?;
        let mut entries = self.index.entries_if_there(name)?.unwrap_or_default();
        if entries.iter().any(|entry| entry.version.cmp_precedence(version).is_eq()) {
            return Err(err!(File, "the index has `{name}` {version} already")
                .hint(format!("a version is never replaced: raise `version` in {file}")));
        }
        let dependencies = manifest.named_dependencies()?;
        for (needed, versions) in &dependencies {
            self.expect(name, needed, versions)?;
        }
        let top = format!("{name}-{version}");
        let bytes = packing::packed(self.files, library, &top, self.task)?;
        let touches = manifest.touches();
        let entry = Entry {
            name: name.into(),
            version: version.clone(),
            archive: format!("{ARCHIVES}/{top}.tar.gz"),
            hash: archive::hash(&bytes),
            microtome: manifest.microtome.clone().unwrap_or(VersionReq::STAR),
            description: manifest.description.clone(),
            licence: manifest.licence.clone(),
            read: touches.read,
            write: touches.write,
            net: touches.net,
            dependencies: dependencies.into_iter().map(|(name, versions)| (name, Requirement(versions))).collect(),
            yanked: false,
        };
        entries.push(entry.clone());
        self.files.save_whole(&self.folder.join(&entry.archive), &bytes)?;
        self.save(name, &entries)?;
        Ok(entry)
    }

    /// Withdraws a version. Returns false where that was done before.
    pub fn yank(&self, name: &str, version: &Version) -> Result<bool> {
        let Some(mut entries) = self.index.entries_if_there(name)? else {
            return Err(err!(File, "the index has no library `{name}`"));
        };
        let there = index::versions_text(&entries);
        let entry = entries.iter_mut().find(|entry| entry.version == *version);
        let entry = entry.ok_or_else(|| err!(File, "the index has no `{name}` {version}; it has {there}"))?;
        if std::mem::replace(&mut entry.yanked, true) {
            return Ok(false);
        }
        self.save(name, &entries)?;
        Ok(true)
    }

    /// Refuses a library that needs what nobody could be given.
    fn expect(&self, name: &str, needed: &str, versions: &VersionReq) -> Result<()> {
        let there = self.index.entries_if_there(needed)?.unwrap_or_default();
        if there.iter().any(|entry| !entry.yanked && versions.matches(&entry.version)) {
            return Ok(());
        }
        let there = index::versions_text(&there);
        Err(err!(File, "`{name}` needs `{needed}` {versions}, of which the index has {there}")
            .hint("a library finds what it needs in its own index: publish that first"))
    }

    /// Writes the entries of a library, and then the file for searching, which is made of those of all libraries.
    fn save(&self, name: &str, entries: &[Entry]) -> Result<()> {
        // All is read before anything is written: a broken file of another library stops it in time.
        let libraries = self.folder.join(LIBRARIES);
        let there = self.files.names(&libraries);
        let known = there.iter().filter_map(|file| file.strip_suffix(LINES)).chain([name]);
        let known: BTreeSet<&str> = known.collect();
        let mut all = Vec::new();
        for library in known {
            let of_library =
                if library == name { Some(entries.to_vec()) } else { self.index.entries_if_there(library)? };
            all.extend(of_library.and_then(newest));
        }
        let all = index::text(&all)?;
        self.files.save_whole(&libraries.join(format!("{name}{LINES}")), index::text(entries)?)?;
        self.files.save_whole(&self.folder.join(ALL), all)?;
        Ok(())
    }
}

/// Returns the newest version that was not withdrawn, a release before what comes before one.
fn newest(entries: Vec<Entry>) -> Option<Entry> {
    let open = entries.into_iter().filter(|entry| !entry.yanked);
    open.max_by(|one, other| {
        let key = |entry: &Entry| (entry.version.pre.is_empty(), entry.version.clone());
        key(one).cmp(&key(other))
    })
}

/// Splits the name and the version of a library, as `heads@1.0.0`.
pub fn version_of(place: &str) -> Result<(&str, Version)> {
    let wrong = || err!(Argument, "expected a library with its version, such as heads@1.0.0, found `{place}`");
    let (name, version) = place.split_once('@').ok_or_else(wrong)?;
    manifest::check_name(name)?;
    Ok((name, Version::parse(version).map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::{Access, Rules};

    /// An empty index, and libraries beside it.
    struct Publisher(tempfile::TempDir);

    impl Publisher {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.write("index/index.toml", "format = 1\n");
            place
        }

        fn write(&self, name: &str, text: &str) {
            kit::write(self.0.path().join(name), text);
        }

        /// Publishes a library of this version, with this behind its name and version.
        fn publish(&self, name: &str, version: &str, more: &str) -> Result<Entry> {
            let manifest = format!("name = \"{name}\"\nversion = \"{version}\"\n{more}");
            self.write(&format!("{name}/microtome.toml"), &manifest);
            self.with(|index| index.publish(&self.0.path().join(name)))
        }

        fn with<T>(&self, work: impl FnOnce(&IndexFolder) -> Result<T>) -> Result<T> {
            let rules = Rules { allow_write: vec![self.0.path().join("index")], ..Rules::default() };
            let files = Files::new(Access::new(&self.0.path().join("out"), &rules).unwrap(), false);
            work(&IndexFolder::open(self.0.path().join("index"), &files, &Task::default())?)
        }

        fn lines(&self, file: &str) -> Vec<String> {
            let text = std::fs::read_to_string(self.0.path().join("index").join(file)).unwrap();
            text.lines().map(String::from).collect()
        }
    }

    #[test]
    fn a_version_is_published_once_with_what_it_needs_before_it() {
        let place = Publisher::new();
        let needs = "[index]\naddress = \"../index\"\n[dependencies]\nrates = { version = \"1\" }\n";
        let message = place.publish("heads", "1.0.0", needs).unwrap_err().message;
        assert_eq!(message, "`heads` needs `rates` ^1, of which the index has none");
        place.publish("rates", "0.9.0", "").unwrap();
        let message = place.publish("heads", "1.0.0", needs).unwrap_err().message;
        assert_eq!(message, "`heads` needs `rates` ^1, of which the index has 0.9.0");
        place.publish("rates", "1.0.0", "").unwrap();
        let entry = place.publish("heads", "1.0.0", needs).unwrap();
        assert_eq!(entry.archive, "archives/heads-1.0.0.tar.gz");
        let bytes = std::fs::read(place.0.path().join("index").join(&entry.archive)).unwrap();
        assert_eq!(entry.hash, archive::hash(&bytes));
        for version in ["1.0.0", "1.0.0+other"] {
            let message = place.publish("rates", version, "").unwrap_err().message;
            assert_eq!(message, format!("the index has `rates` {version} already"));
        }
        let from_a_folder = "[dependencies]\nrates = { path = \"../rates\" }\n";
        let message = place.publish("heads", "1.1.0", from_a_folder).unwrap_err().message;
        assert!(message.contains("a library of an index needs others by name"), "{message}");
        assert_eq!(place.lines("libraries/rates.jsonl").len(), 2);
        assert_eq!(place.lines("libraries/heads.jsonl"), [index::text(&[entry]).unwrap().trim_end()]);
    }

    #[test]
    fn what_is_searched_is_the_newest_version_that_is_open() {
        let place = Publisher::new();
        for version in ["1.0.0", "1.1.0", "2.0.0-beta.1"] {
            place.publish("heads", version, "").unwrap();
        }
        place.publish("rates", "0.1.0", "").unwrap();
        let searched = || place.with(|index| index.index.all()).unwrap();
        let one = |entry: Entry| format!("{} {}", entry.name, entry.version);
        let versions = || searched().into_iter().map(one).collect::<Vec<_>>();
        assert_eq!(versions(), ["heads 1.1.0", "rates 0.1.0"]);
        let yank = |name: &str, version: &str| place.with(|index| index.yank(name, &version.parse().unwrap()));
        assert_eq!(yank("heads", "1.1.0"), Ok(true));
        assert_eq!(yank("heads", "1.1.0"), Ok(false));
        assert_eq!(yank("rates", "0.1.0"), Ok(true));
        assert_eq!(versions(), ["heads 1.0.0"]);
        assert_eq!(
            yank("heads", "3.0.0").unwrap_err().message,
            "the index has no `heads` 3.0.0; it has 1.0.0, 1.1.0 (yanked), 2.0.0-beta.1"
        );
        assert_eq!(yank("none", "1.0.0").unwrap_err().message, "the index has no library `none`");
        for version in ["1.0.0-rc.2", "1.0.0-rc.1"] {
            place.publish("early", version, "").unwrap();
        }
        assert_eq!(versions(), ["early 1.0.0-rc.2", "heads 1.0.0"]);
    }

    #[test]
    fn a_version_is_named_by_library_and_number() {
        assert_eq!(version_of("heads@1.0.0").unwrap(), ("heads", Version::new(1, 0, 0)));
        for wrong in ["heads", "heads@1", "Heads@1.0.0", "@1.0.0"] {
            assert!(version_of(wrong).is_err(), "{wrong}");
        }
    }
}
