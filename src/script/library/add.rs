//! `microtome add`: which libraries a project needs with a new one, from where, and what they may touch. Nothing of
//! them is run, and nothing is written before the user has said yes.

use semver::VersionReq;
use toml_edit::{DocumentMut, InlineTable, Item, Table as TomlTable, Value};

use super::choosing::{LibraryId, Need};
use super::fetching::{Archives, ProjectFolder};
use super::lock::{Lock, LockedLibrary};
use super::manifest::{self, Dependency, LibrarySource, Manifest, ManifestError, NamedDependency};
use super::named::{LibraryNote, NamedLibrary, NamedSearch};
use super::project::{cleaned, exact_index, path_text, place_text, relative, same_index, source_text, typed_index};
use super::{LOCK, MANIFEST, archive};
use crate::base::access;
use crate::script::prelude::*;

/// The library that is to be added.
pub struct AddedLibrary<'a> {
    /// A folder, an address, or a name, with versions behind `@`; without one the libraries that the manifest names.
    pub place: Option<&'a str>,
    /// The SHA-256 that the archive must have.
    pub hash: Option<&'a str>,
    /// The index that has the name, if it is not that of the manifest.
    pub index: Option<&'a str>,
}

/// The text of a file before and after a change.
struct FileChange {
    before: Option<String>,
    after: String,
}

/// The files that adding would write.
pub struct AddPlan {
    pub lock: Lock,
    /// Permissions that each library asks for and the lock file does not grant, by name.
    pub more: BTreeMap<String, Vec<String>>,
    /// Notes on libraries, by name.
    notes: BTreeMap<String, Vec<LibraryNote>>,
    manifest: FileChange,
    locked: FileChange,
    archives: Vec<Vec<u8>>,
    /// Whether that differs from what is there.
    pub is_new: bool,
}

/// A library that the command line means.
enum TypedLibrary {
    Source(LibrarySource),
    /// A name, the versions behind it, and the index.
    Named {
        name: String,
        versions: Option<String>,
        index: String,
    },
}

struct DependencySearch<'a> {
    ground: &'a ProjectFolder<'a>,
    archives: Archives<'a>,
    found: BTreeMap<String, (LockedLibrary, String)>,
    /// Libraries that are needed by name.
    named: Vec<Need>,
    /// Indexes, each as it was written first.
    indexes: Vec<String>,
}

/// Lists hosts that the user names: those on the command line, and those in the project's own manifest.
pub fn hosts(wish: &AddedLibrary, manifest: Option<&str>) -> Vec<String> {
    let own = manifest.and_then(|text| Manifest::parse(text, MANIFEST).ok()).unwrap_or_default();
    let needed = own.dependencies().unwrap_or_default().into_values().filter_map(|dependency| match dependency {
        Dependency::Source(LibrarySource::Archive { address, .. }) => Some(address),
        Dependency::Source(LibrarySource::Folder(_)) => None,
        Dependency::Named(named) => named.index,
    });
    let typed = [wish.place, wish.index, own.index()].into_iter().flatten().map(String::from);
    needed
        .chain(typed)
        .filter(|place| manifest::is_address(place))
        .map(|address| access::host_of(&address).to_string())
        // A host of a manifest is one host, and no rule for several.
        .filter(|host| !host.is_empty() && !host.contains('*'))
        .collect()
}

/// Splits a word of the command line into a name and the versions behind it; none if it is an address or a folder,
/// which a word can mean where no index is named. Names of packages elsewhere have hyphens, where these have `_`.
fn taken_apart(place: &str, has_index: bool) -> Option<(String, Option<&str>)> {
    let is_folder = !has_index && Path::new(place).is_dir();
    let is_place = place.contains(['/', '\\']) || place.starts_with('.') || is_folder;
    let parts = place.split_once('@').map_or((place, None), |(name, versions)| (name, Some(versions)));
    (!is_place).then(|| (parts.0.replace('-', "_"), parts.1))
}

impl ProjectFolder<'_> {
    /// Plans what adding a library changes.
    pub fn plan(&self, wish: &AddedLibrary) -> Result<AddPlan, Box<ManifestError>> {
        self.planned(wish).map_err(ManifestError::visible)
    }

    fn planned(&self, wish: &AddedLibrary) -> Result<AddPlan, Box<ManifestError>> {
        let before = self.text(MANIFEST)?;
        if before.is_none() && wish.place.is_none() {
            return Err(err!(File, "there is no {MANIFEST} in this folder")
                .hint("`microtome add PLACE` makes one, and `microtome new lib NAME` a library")
                .into());
        }
        let text = before.clone().unwrap_or_default();
        let own = Manifest::parse(&text, &path_text(&self.root.join(MANIFEST)))?;
        let locked_before = self.text(LOCK)?;
        let known = match &locked_before {
            Some(text) => Lock::parse(text, &path_text(&self.root.join(LOCK)))?,
            None => Lock::default(),
        };
        let archives = Archives::new(self);
        let mut search =
            DependencySearch { ground: self, archives, found: BTreeMap::new(), named: Vec::new(), indexes: Vec::new() };
        let chain = [own.name.clone().unwrap_or_else(|| "this project".into())];
        let mut dependencies = own.dependencies()?;
        let typed = self.typed(wish, &own, &known, &mut search.archives)?;
        let mut manifest = text.clone();
        // Of several ways to write the path of an index the lock file has the project's own.
        for dependency in dependencies.values() {
            if let Dependency::Named(NamedDependency { index: Some(index), .. }) = dependency {
                search.written(exact_index(index, &self.root, &self.root));
            }
        }
        match &typed {
            Some(TypedLibrary::Source(source)) => {
                let name = search.gather(None, source, Some(&self.root), &chain)?;
                manifest = with_dependency(&text, &name, source_table(source))?;
                dependencies.remove(&name);
            }
            Some(TypedLibrary::Named { name, versions, index }) => {
                let versions = match versions {
                    Some(versions) => typed_versions(name, versions)?,
                    None => VersionReq::STAR,
                };
                let named = NamedDependency { versions, index: Some(search.written(index.clone())) };
                dependencies.insert(name.clone(), Dependency::Named(named));
            }
            None => {}
        }
        for (name, dependency) in &dependencies {
            search.need(name, dependency, Some(&self.root), &chain)?;
        }
        let anew = match &typed {
            Some(TypedLibrary::Named { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        let mut notes = search.choose(&known, anew, &chain)?;
        if let Some(TypedLibrary::Named { name, versions, index }) = &typed {
            let found = search.found.get(name).map(|(locked, _)| locked.version.clone());
            let versions = versions.clone().or(found).unwrap_or_default();
            let is_own =
                own.index().is_some_and(|own| same_index(&exact_index(own, &self.root, &self.root), index, &self.root));
            manifest = with_dependency(&text, name, named_table(&versions, (!is_own).then_some(index)))?;
        }
        let libraries: Vec<LockedLibrary> = search.found.into_values().map(|(locked, _)| locked).collect();
        for locked in &libraries {
            if let Some(before) = known.get(&locked.name).filter(|before| before.version != locked.version) {
                let note = LibraryNote { title: "in place of", words: before.version.clone() };
                notes.entry(locked.name.clone()).or_default().push(note);
            }
        }
        let more = libraries.iter().map(|locked| {
            let granted = known.get(&locked.name).map(LockedLibrary::granted).unwrap_or_default();
            (locked.name.clone(), locked.granted().beyond(&granted))
        });
        let more = more.collect();
        let mut lock = Lock::default();
        lock.libraries = libraries;
        let is_new = lock != known || manifest != text;
        let locked = FileChange { before: locked_before, after: lock.text()? };
        let manifest = FileChange { before, after: manifest };
        Ok(AddPlan {
            lock,
            more,
            notes,
            manifest,
            locked,
            archives: search.archives.fetched.into_values().collect(),
            is_new,
        })
    }

    /// Finds the library that the command line means.
    fn typed(
        &self,
        wish: &AddedLibrary,
        own: &Manifest,
        before: &Lock,
        archives: &mut Archives,
    ) -> Result<Option<TypedLibrary>> {
        let Some(place) = wish.place else { return Ok(None) };
        if let Some((name, versions)) = taken_apart(place, wish.index.is_some()) {
            let versions = versions.map(String::from);
            let index = self.index_of(&name, wish, own, before)?;
            return Ok(Some(TypedLibrary::Named { name, versions, index }));
        }
        if wish.index.is_some() {
            return Err(err!(Argument, "an index has libraries by name, and {place} is a place")
                .hint("leave `--index` out, or give the name alone"));
        }
        if !manifest::is_address(place) {
            if wish.hash.is_some() {
                return Err(err!(Argument, "a folder has no hash: its files may change").hint("leave `--hash` out"));
            }
            let here = std::path::absolute(place).unwrap_or_else(|_| place.into());
            let folder = relative(&cleaned(&here), &self.root).display().to_string();
            return Ok(Some(TypedLibrary::Source(LibrarySource::Folder(folder))));
        }
        manifest::check_address(place)?;
        // One that is known is not fetched again to find out its hash.
        let locked = before.libraries.iter().filter_map(|locked| locked.source().ok());
        let needed = own.dependencies()?.into_values().filter_map(|dependency| match dependency {
            Dependency::Source(source) => Some(source),
            Dependency::Named(_) => None,
        });
        let known = needed.chain(locked).find_map(|source| match source {
            LibrarySource::Archive { address, hash } if address == place => Some(hash),
            _ => None,
        });
        let hash = match (wish.hash.map(manifest::check_hash).transpose()?, known) {
            (Some(hash), _) | (None, Some(hash)) => hash,
            (None, None) => archives.hash(place)?,
        };
        Ok(Some(TypedLibrary::Source(LibrarySource::Archive { address: place.into(), hash })))
    }

    /// Returns the index that a name on the command line is looked for in, as the lock file writes it.
    fn index_of(&self, name: &str, wish: &AddedLibrary, own: &Manifest, before: &Lock) -> Result<String> {
        manifest::check_name(name)?;
        if wish.hash.is_some() {
            return Err(err!(Argument, "an index has the hashes of its libraries, and one was given for `{name}`")
                .hint("leave `--hash` out"));
        }
        if let Some(typed) = wish.index {
            if manifest::is_address(typed) {
                manifest::check_address(typed)?;
            }
            // A folder is typed from where the user is.
            return Ok(typed_index(typed, &std::env::current_dir().unwrap_or_default(), &self.root));
        }
        // One that the project has comes from where it came from.
        let known = match own.dependencies()?.remove(name) {
            Some(Dependency::Named(NamedDependency { index, .. })) => index,
            _ => None,
        };
        let locked = before.get(name).and_then(|locked| locked.index.as_deref());
        let index = known.as_deref().or(own.index()).or(locked).ok_or_else(|| {
            err!(Argument, "there is no folder `{name}` here, and no index to look for `{name}` in")
                .hint(format!("name an index with `--index`, or in {MANIFEST}: [index] address = \"https://..\""))
        })?;
        Ok(exact_index(index, &self.root, &self.root))
    }

    /// Keeps the archives of a plan in the cache; `kept` are files that may be written there.
    pub fn keep(&self, plan: &AddPlan, kept: &Files) -> Result<()> {
        plan.archives.iter().try_for_each(|bytes| archive::keep(kept, self.cache, bytes))
    }

    /// Writes what was planned: archives first, the lock file before the manifest, so that whatever is missing later is
    /// noticed. `kept` are files that may be written in the cache.
    pub fn carry_out(&self, plan: &AddPlan, kept: &Files) -> Result<()> {
        self.keep(plan, kept)?;
        self.files.lock_in_turn(&self.root.join(LOCK))?;
        // Whoever added another library meanwhile would lose it.
        for (name, change) in [(LOCK, &plan.locked), (MANIFEST, &plan.manifest)] {
            if self.text(name)? != change.before {
                return Err(err!(File, "{name} has changed since the table was made, and was not written")
                    .hint("run the command again"));
            }
        }
        self.files.save_whole(&self.root.join(LOCK), &plan.locked.after)?;
        self.files.save_whole(&self.root.join(MANIFEST), &plan.manifest.after)?;
        self.files.release();
        Ok(())
    }
}

/// Reads the versions that were typed behind a name.
fn typed_versions(name: &str, versions: &str) -> Result<VersionReq> {
    let wrong = |e| err!(Argument, "expected versions such as 1.2 behind `{name}@`, found `{versions}`: {e}");
    VersionReq::parse(versions).map_err(wrong)
}

impl DependencySearch<'_> {
    /// Adds a library at a place with all that it needs, or notes one that is needed by name.
    fn need(&mut self, name: &str, dependency: &Dependency, base: Option<&Path>, chain: &[String]) -> Result<()> {
        let NamedDependency { versions, index } = match dependency {
            Dependency::Source(source) => return self.gather(Some(name), source, base, chain).map(drop),
            Dependency::Named(named) => named,
        };
        let who = chain.last().cloned().unwrap_or_default();
        let index = match (index, base) {
            (None, _) => {
                return Err(err!(File, "{who} needs `{name}` by name, and does not say from which index")
                    .hint("its manifest gives it an `index`, or has [index] with an `address`"));
            }
            (Some(index), None) if !manifest::is_address(index) => {
                return Err(err!(File, "{who} comes from an archive, and needs an index in a folder, {index}")
                    .hint("its author gives the address of an index"));
            }
            (Some(index), base) => exact_index(index, base.unwrap_or(&self.ground.root), &self.ground.root),
        };
        let library = LibraryId { index: self.written(index), name: name.into() };
        self.named.push(Need { library, versions: versions.clone(), who });
        Ok(())
    }

    /// Returns an index as it was written first: a folder has several paths, and is one index.
    fn written(&mut self, index: String) -> String {
        let root = &self.ground.root;
        if let Some(known) = self.indexes.iter().find(|known| same_index(known, &index, root)) {
            return known.clone();
        }
        self.indexes.push(index.clone());
        index
    }

    /// Adds a library with all that it needs; `chain` are those that led there, and `base` is the folder that its own
    /// is counted from. Returns its name.
    fn gather(
        &mut self,
        wanted: Option<&str>,
        source: &LibrarySource,
        base: Option<&Path>,
        chain: &[String],
    ) -> Result<String> {
        self.ground.task.check()?;
        let who = chain.last().cloned().unwrap_or_default();
        let (manifest, file, folder, exact) = self.opened(source, base, &who)?;
        let (name, version) = manifest.named(&file)?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != name) {
            return Err(err!(File, "{who} needs `{wanted}` from {}, and that is `{name}`", source_text(source))
                .hint(format!("name it `{name}` in the manifest that needs it")));
        }
        if chain.iter().any(|above| above == name) {
            return Err(err!(File, "libraries need each other in a circle: {} -> {name}", chain.join(" -> ")));
        }
        let touches = manifest.touches();
        let dependencies = manifest.dependencies()?;
        let mut locked = LockedLibrary {
            name: name.into(),
            version: version.to_string(),
            path: None,
            index: None,
            address: None,
            hash: None,
            read: touches.read,
            write: touches.write,
            net: touches.net,
            needs: dependencies.keys().cloned().collect(),
        };
        locked.place(exact);
        if let Some((known, first)) = self.found.get(name) {
            if known.version == locked.version && known.source()? == locked.source()? {
                return Ok(name.into());
            }
            return Err(two_versions(known, first, &locked, &who)?);
        }
        let name = name.to_string();
        self.found.insert(name.clone(), (locked, who));
        let chain: Vec<String> = chain.iter().cloned().chain([name.clone()]).collect();
        for (need, dependency) in &dependencies {
            self.need(need, dependency, folder.as_deref(), &chain)?;
        }
        Ok(name)
    }

    /// Opens a source: its manifest, its name, its folder if it has one, and the source as the lock file has it.
    fn opened(
        &mut self,
        source: &LibrarySource,
        base: Option<&Path>,
        who: &str,
    ) -> Result<(Manifest, String, Option<PathBuf>, LibrarySource)> {
        let ProjectFolder { root, files, .. } = self.ground;
        match source {
            LibrarySource::Folder(path) => {
                let base = base.ok_or_else(|| {
                    err!(File, "{who} comes from an archive, and needs a folder of this machine, {path}")
                        .hint("its author gives the address of an archive in place of `path`")
                })?;
                let folder = cleaned(&base.join(path));
                let place = folder.join(MANIFEST);
                let file = path_text(&place);
                if !(files.has(&place)? && place.is_file()) {
                    return Err(err!(File, "there is no library in {}: it has no {MANIFEST}", path_text(&folder))
                        .hint("`microtome new lib NAME` makes one"));
                }
                let manifest = Manifest::parse(&files.script(&place)?, &file)?;
                let exact = LibrarySource::Folder(relative(&folder, root).display().to_string());
                Ok((manifest, file, Some(folder), exact))
            }
            LibrarySource::Archive { address, hash } => {
                let (manifest, file) = self.archives.manifest(address, hash)?;
                Ok((manifest, file, None, source.clone()))
            }
        }
    }

    /// Chooses the libraries that are needed by name, of which `anew` is taken in its newest version; the first of
    /// `chain` is the project. Returns notes on them, by name.
    fn choose(
        &mut self,
        before: &Lock,
        anew: Option<&str>,
        chain: &[String],
    ) -> Result<BTreeMap<String, Vec<LibraryNote>>> {
        let needs = std::mem::take(&mut self.named);
        let chosen = NamedSearch::new(self.ground, before, anew, &mut self.archives).chosen(needs)?;
        let mut noted = BTreeMap::new();
        for NamedLibrary { locked, who, notes } in chosen {
            let name = locked.name.clone();
            if chain.first() == Some(&name) {
                return Err(err!(File, "libraries need each other in a circle: {who} needs `{name}`, this project"));
            }
            if let Some((known, first)) = self.found.get(&name) {
                return Err(two_versions(known, first, &locked, &who)?);
            }
            noted.insert(name.clone(), notes);
            self.found.insert(name, (locked, who));
        }
        Ok(noted)
    }
}

/// Makes the error of two libraries of one name, each with who needs it.
fn two_versions(known: &LockedLibrary, first: &str, other: &LockedLibrary, who: &str) -> Result<Error> {
    let name = &known.name;
    let placed = |locked: &LockedLibrary| place_text(locked).map(|place| format!("{} ({place})", locked.version));
    let known = placed(known)?;
    let other = placed(other)?;
    Ok(err!(File, "two versions of `{name}`: {known}, which {first} needs, and {other}, which {who} needs")
        .hint("a project has one version of each library; change one of the two to need the other's"))
}

/// Returns what a manifest says of a library at a place.
fn source_table(source: &LibrarySource) -> InlineTable {
    let mut table = InlineTable::new();
    match source {
        LibrarySource::Folder(path) => drop(table.insert("path", path.as_str().into())),
        LibrarySource::Archive { address, hash } => {
            table.insert("address", address.as_str().into());
            table.insert("hash", format!("sha256:{hash}").into());
        }
    }
    table
}

/// Returns what a manifest says of a library by its name.
fn named_table(versions: &str, index: Option<&String>) -> InlineTable {
    let mut table = InlineTable::new();
    table.insert("version", versions.into());
    if let Some(index) = index {
        table.insert("index", index.as_str().into());
    }
    table
}

/// Returns the manifest with a dependency; everything else in it stays as it is written.
fn with_dependency(text: &str, name: &str, table: InlineTable) -> Result<String> {
    let mut document: DocumentMut = text.parse().map_err(|e| err!(Format, "{MANIFEST}: {e}"))?;
    if !document.contains_key("dependencies") {
        // What stands at the end of the file, a comment, stays before what is added behind it.
        let mut dependencies = TomlTable::new();
        let end = document.trailing().as_str().unwrap_or_default().to_string();
        if !end.is_empty() {
            dependencies.decor_mut().set_prefix(format!("{end}\n"));
            document.set_trailing("");
        }
        document.insert("dependencies", Item::Table(dependencies));
    }
    let dependencies = document.get_mut("dependencies");
    let all = dependencies
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| err!(Format, "{MANIFEST}: expected a table `dependencies`"))?;
    all.insert(name, Item::Value(Value::InlineTable(table)));
    Ok(document.to_string())
}

impl AddPlan {
    /// Says what each library may touch, and which of that is new.
    pub fn text(&self) -> String {
        let mut lines = vec!["What the libraries of this project may touch, of what a run itself may:".to_string()];
        for locked in &self.lock.libraries {
            let from = match &locked.index {
                Some(index) => format!("the index {index}"),
                None => locked.path.as_ref().or(locked.address.as_ref()).cloned().unwrap_or_default(),
            };
            // What an author wrote cannot draw lines of its own.
            lines.push(format!("\n{} {}, from {}", locked.name, locked.version, visible(&from)));
            for LibraryNote { title, words } in self.notes.get(&locked.name).into_iter().flatten() {
                lines.push(format!("  {title:<12} {}", visible(words)));
            }
            if let Some(hash) = &locked.hash {
                lines.push(format!("  SHA-256      {hash}"));
            }
            let more = self.more.get(&locked.name).map(Vec::as_slice).unwrap_or_default();
            for (words, verb, all) in [
                ("reads", "read", &locked.read),
                ("writes", "write", &locked.write),
                ("connects to", "net", &locked.net),
            ] {
                let is_new = |one: &String| more.contains(&format!("{verb} {one}"));
                let each: Vec<String> =
                    all.iter().map(|one| visible(one) + if is_new(one) { " (new)" } else { "" }).collect();
                let all = if each.is_empty() { "nothing".into() } else { each.join(", ") };
                lines.push(format!("  {words:<12} {all}"));
            }
        }
        let indexes = self.lock.libraries.iter().filter_map(|locked| locked.index.as_deref());
        let absolute: BTreeSet<&str> = indexes.filter(|index| Path::new(index).is_absolute()).collect();
        lines.extend(absolute.into_iter().map(|index| {
            let index = visible(index);
            format!("\nThe index {index} is kept as an absolute path: a clone of this project looks for it there, too.")
        }));
        lines.join("\n") + "\n\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_keeps_what_its_author_wrote() {
        let text = "# mine\nname = \"a\"   # short\n\n[dependencies]\nz = { path = \"../z\" } # last\n";
        let source = LibrarySource::Folder("../b".into());
        assert_eq!(
            with_dependency(text, "b", source_table(&source)).unwrap(),
            "# mine\nname = \"a\"   # short\n\n[dependencies]\nz = { path = \"../z\" } # last\nb = { path = \"../b\" }\n"
        );
        let archive = LibrarySource::Archive { address: "https://x.org/b.tar.gz".into(), hash: "ab".repeat(32) };
        let alone = with_dependency("", "b", source_table(&archive)).unwrap();
        let needs = |text: &str| Manifest::parse(text, "f").unwrap().dependencies().unwrap();
        assert_eq!(needs(&alone)["b"], Dependency::Source(archive));
        let named = with_dependency(text, "c", named_table("1.2", Some(&"../index".into()))).unwrap();
        assert!(named.ends_with("c = { version = \"1.2\", index = \"../index\" }\n"), "{named}");
        let dependency = NamedDependency { versions: "1.2".parse().unwrap(), index: Some("../index".into()) };
        assert_eq!(needs(&named)["c"], Dependency::Named(dependency));
    }

    #[test]
    fn a_word_is_a_name_where_it_is_no_place() {
        assert_eq!(taken_apart("heads", false), Some(("heads".into(), None)));
        assert_eq!(taken_apart("probes-kit@1.2", false), Some(("probes_kit".into(), Some("1.2"))));
        assert_eq!(taken_apart("heads@>=1, <2", true), Some(("heads".into(), Some(">=1, <2"))));
        // The tests of this crate run beside its sources.
        for place in ["./heads", "../heads", ".", "a/heads", "https://x.org/heads.tar.gz", "src"] {
            assert_eq!(taken_apart(place, false), None, "{place}");
        }
        assert!(typed_versions("heads", "new").unwrap_err().message.contains("behind `heads@`, found `new`"));
    }

    /// Checks that each library has three lines of permissions, whatever its author put into a path.
    #[test]
    fn a_path_draws_no_lines_of_its_own() {
        let evil = "x\n  reads        nothing\u{200b}\r";
        let locked = LockedLibrary {
            name: "heads".into(),
            version: "0.1.0".into(),
            path: Some(evil.into()),
            index: None,
            address: None,
            hash: None,
            read: vec![evil.into()],
            write: vec![],
            net: vec![],
            needs: vec![],
        };
        let mut lock = Lock::default();
        lock.libraries.push(locked);
        let change = || FileChange { before: None, after: String::new() };
        let plan = AddPlan {
            lock,
            more: BTreeMap::new(),
            notes: BTreeMap::new(),
            manifest: change(),
            locked: change(),
            archives: vec![],
            is_new: true,
        };
        let said = plan.text();
        assert_eq!(said.lines().filter(|line| line.trim_start().starts_with("reads")).count(), 1, "{said}");
        assert!(
            said.contains("x↵  reads        nothing") && !said.contains('\u{200b}') && !said.contains('\r'),
            "{said}"
        );
    }
}
