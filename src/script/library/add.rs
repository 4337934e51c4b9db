//! `microtome add`: which libraries a project needs with a new one, from where, and what they may touch. Nothing of them is
//! run, and nothing is written before the user has said yes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml_edit::{DocumentMut, InlineTable, Item, Table as TomlTable, Value};

use super::lock::{Lock, LockedLibrary};
use super::manifest::{self, LibrarySource, Manifest, ManifestError};
use super::project::{cleaned, path_text, relative, source_text};
use super::{LOCK, MANIFEST, archive};
use crate::base::access;
use crate::base::files::Files;
use crate::script::prelude::*;

/// The library that is to be added.
pub struct AddedLibrary<'a> {
    /// A folder or an address; without one the libraries that the manifest names.
    pub place: Option<&'a str>,
    /// The SHA-256 that the archive must have.
    pub hash: Option<&'a str>,
}

/// The folder of a project, what its files say, and where libraries are kept.
pub struct ProjectFolder<'a> {
    pub root: PathBuf,
    pub files: &'a Files,
    pub cache: Option<&'a Path>,
    pub task: &'a Task,
}

/// The files that adding would write.
pub struct AddPlan {
    pub lock: Lock,
    /// Permissions that each library asks for and the lock file does not grant, by name.
    pub more: BTreeMap<String, Vec<String>>,
    /// The new text of the manifest, and of the lock file.
    manifest: String,
    locked: String,
    archives: Vec<Vec<u8>>,
    /// Whether that differs from what is there.
    pub is_new: bool,
}

struct DependencySearch<'a> {
    ground: &'a ProjectFolder<'a>,
    found: BTreeMap<String, (LockedLibrary, String)>,
    archives: Vec<Vec<u8>>,
}

/// Lists hosts that the user names: that of the address, and those in the project's own manifest.
pub fn hosts(place: Option<&str>, manifest: Option<&str>) -> Vec<String> {
    let own = manifest.and_then(|text| Manifest::parse(text, MANIFEST).ok()?.dependencies().ok()).unwrap_or_default();
    let addresses = own.into_values().filter_map(|source| match source {
        LibrarySource::Archive { address, .. } => Some(address),
        LibrarySource::Folder(_) => None,
    });
    let typed = place.filter(|place| is_address(place)).map(String::from);
    addresses
        .chain(typed)
        .map(|address| access::host_of(&address).to_string())
        .filter(|host| !host.is_empty())
        .collect()
}

pub fn is_address(place: &str) -> bool {
    place.contains("://")
}

impl ProjectFolder<'_> {
    /// Reads the text of a file of the project, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let place = self.root.join(name);
        let is_there = self.files.has(&place)? && place.is_file();
        is_there.then(|| self.files.script(&place)).transpose()
    }

    /// Plans what adding a library changes.
    pub fn plan(&self, wish: &AddedLibrary) -> Result<AddPlan, Box<ManifestError>> {
        self.planned(wish).map_err(ManifestError::visible)
    }

    fn planned(&self, wish: &AddedLibrary) -> Result<AddPlan, Box<ManifestError>> {
        let text = self.text(MANIFEST)?;
        if text.is_none() && wish.place.is_none() {
            return Err(err!(File, "there is no {MANIFEST} in this folder")
                .hint("`microtome add PLACE` makes one, and `microtome new lib NAME` a library")
                .into());
        }
        let text = text.unwrap_or_default();
        let file = path_text(&self.root.join(MANIFEST));
        let own = Manifest::parse(&text, &file)?;
        let before = match self.text(LOCK)? {
            Some(text) => Lock::parse(&text, &path_text(&self.root.join(LOCK)))?,
            None => Lock::default(),
        };
        let mut gathering = DependencySearch { ground: self, found: BTreeMap::new(), archives: Vec::new() };
        let chain = own.name.clone().unwrap_or_else(|| "this project".into());
        let mut dependencies = own.dependencies()?;
        let mut manifest = text.clone();
        if let Some(place) = wish.place {
            let source = self.wanted(place, wish.hash, &dependencies, &before, &mut gathering)?;
            let name = gathering.gather(None, &source, Some(&self.root), std::slice::from_ref(&chain))?;
            manifest = with_dependency(&text, &name, &source)?;
            dependencies.remove(&name);
        }
        for (name, source) in &dependencies {
            gathering.gather(Some(name), source, Some(&self.root), std::slice::from_ref(&chain))?;
        }
        let libraries: Vec<LockedLibrary> = gathering.found.into_values().map(|(locked, _)| locked).collect();
        let more = libraries.iter().map(|locked| {
            let granted = before.get(&locked.name).map(LockedLibrary::granted).unwrap_or_default();
            (locked.name.clone(), locked.granted().beyond(&granted))
        });
        let more = more.collect();
        let mut lock = Lock::default();
        lock.libraries = libraries;
        let is_new = lock != before || manifest != text;
        Ok(AddPlan { more, locked: lock.text()?, lock, manifest, archives: gathering.archives, is_new })
    }

    /// Finds the source that a place on the command line means.
    fn wanted(
        &self,
        place: &str,
        hash: Option<&str>,
        known: &BTreeMap<String, LibrarySource>,
        before: &Lock,
        gathering: &mut DependencySearch,
    ) -> Result<LibrarySource> {
        if !is_address(place) {
            if hash.is_some() {
                return Err(err!(Argument, "a folder has no hash: its files may change").hint("leave `--hash` out"));
            }
            let here = std::path::absolute(place).unwrap_or_else(|_| place.into());
            return Ok(LibrarySource::Folder(relative(&cleaned(&here), &self.root).display().to_string()));
        }
        manifest::check_address(place)?;
        // One that is known is not fetched again to find out its hash.
        let locked = before.libraries.iter().filter_map(|locked| locked.source().ok());
        let known = known.values().cloned().chain(locked).find_map(|source| match source {
            LibrarySource::Archive { address, hash } if address == place => Some(hash),
            _ => None,
        });
        let hash = match (hash.map(manifest::check_hash).transpose()?, known) {
            (Some(hash), _) | (None, Some(hash)) => hash,
            (None, None) => {
                let bytes = archive::fetch(self.files.access(), self.task, place)?;
                let hash = archive::hash(&bytes);
                gathering.archives.push(bytes);
                hash
            }
        };
        Ok(LibrarySource::Archive { address: place.into(), hash })
    }

    /// Writes what was planned: archives first, the lock file before the manifest, so that whatever is missing afterwards is
    /// noticed. `kept` are files that may be written in the cache.
    pub fn carry_out(&self, plan: &AddPlan, kept: &Files) -> Result<()> {
        for bytes in &plan.archives {
            archive::keep(kept, self.cache, bytes)?;
        }
        self.files.save_whole(&self.root.join(LOCK), &plan.locked)?;
        self.files.save_whole(&self.root.join(MANIFEST), &plan.manifest)?;
        self.files.release();
        Ok(())
    }
}

impl DependencySearch<'_> {
    /// Adds a library with all that it needs; `chain` are those that led there, and `base` is the folder that its own is
    /// counted from. Returns its name.
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
        if let Some((known, first)) = self.found.get(name) {
            if known.version == version.to_string() && known.source()? == exact {
                return Ok(name.into());
            }
            let known_at = source_text(&known.source()?);
            let known = &known.version;
            return Err(err!(
                File,
                "two versions of `{name}`: {known} ({known_at}), which {first} needs, and {version} ({}), which {who} needs",
                source_text(&exact)
            )
            .hint("a project has one version of each library; change one of the two to need the other's"));
        }
        let touches = manifest.touches();
        let dependencies = manifest.dependencies()?;
        let mut locked = LockedLibrary {
            name: name.into(),
            version: version.to_string(),
            path: None,
            address: None,
            hash: None,
            read: touches.read,
            write: touches.write,
            net: touches.net,
            needs: dependencies.keys().cloned().collect(),
        };
        locked.place(exact);
        let name = name.to_string();
        self.found.insert(name.clone(), (locked, who));
        let chain: Vec<String> = chain.iter().cloned().chain([name.clone()]).collect();
        for (need, source) in &dependencies {
            self.gather(Some(need), source, folder.as_deref(), &chain)?;
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
        let ProjectFolder { root, files, task, .. } = self.ground;
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
                let bytes = self.archive(address, hash)?;
                let texts = archive::unpacked(&bytes, task).map_err(|e| e.within(address))?;
                let file = format!("{address}: {MANIFEST}");
                let text = texts.get(MANIFEST).map(String::as_str).unwrap_or_default();
                Ok((Manifest::parse(text, &file)?, file, None, source.clone()))
            }
        }
    }

    fn archive(&mut self, address: &str, wanted: &str) -> Result<Vec<u8>> {
        let ProjectFolder { files, cache, task, .. } = self.ground;
        if let Some(bytes) = self.archives.iter().find(|bytes| archive::hash(bytes) == wanted) {
            return Ok(bytes.clone());
        }
        if let Some(bytes) = archive::cached(files, *cache, wanted)? {
            return Ok(bytes);
        }
        let bytes = archive::fetch(files.access(), task, address)?;
        let found = archive::hash(&bytes);
        if found != wanted {
            return Err(err!(
                Network,
                "{address} is not the expected archive: expected SHA-256 {wanted}, found {found}"
            )
            .hint("ask its author which of the two is right before you use it"));
        }
        self.archives.push(bytes.clone());
        Ok(bytes)
    }
}

/// Returns the manifest with a dependency; everything else in it stays as it is written.
fn with_dependency(text: &str, name: &str, source: &LibrarySource) -> Result<String> {
    let mut document: DocumentMut = text.parse().map_err(|e| err!(Format, "{MANIFEST}: {e}"))?;
    let mut table = InlineTable::new();
    match source {
        LibrarySource::Folder(path) => drop(table.insert("path", path.as_str().into())),
        LibrarySource::Archive { address, hash } => {
            table.insert("address", address.as_str().into());
            table.insert("hash", format!("sha256:{hash}").into());
        }
    }
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
            let from = locked.path.as_ref().or(locked.address.as_ref()).map_or("", String::as_str);
            // What an author wrote cannot draw lines of its own.
            lines.push(format!("\n{} {}, from {}", locked.name, locked.version, visible(from)));
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
            with_dependency(text, "b", &source).unwrap(),
            "# mine\nname = \"a\"   # short\n\n[dependencies]\nz = { path = \"../z\" } # last\nb = { path = \"../b\" }\n"
        );
        let archive = LibrarySource::Archive { address: "https://x.org/b.tar.gz".into(), hash: "ab".repeat(32) };
        let alone = with_dependency("", "b", &archive).unwrap();
        assert_eq!(Manifest::parse(&alone, "f").unwrap().dependencies().unwrap()["b"], archive);
    }

    /// Checks that each library has three lines of permissions, whatever its author put into a path.
    #[test]
    fn a_path_draws_no_lines_of_its_own() {
        let evil = "x\n  reads        nothing\u{200b}\r";
        let locked = LockedLibrary {
            name: "heads".into(),
            version: "0.1.0".into(),
            path: Some(evil.into()),
            address: None,
            hash: None,
            read: vec![evil.into()],
            write: vec![],
            net: vec![],
            needs: vec![],
        };
        let mut lock = Lock::default();
        lock.libraries.push(locked);
        let plan = AddPlan {
            lock,
            locked: String::new(),
            manifest: String::new(),
            archives: vec![],
            is_new: true,
            more: BTreeMap::new(),
        };
        let said = plan.text();
        assert_eq!(said.lines().filter(|line| line.trim_start().starts_with("reads")).count(), 1, "{said}");
        assert!(
            said.contains("x↵  reads        nothing") && !said.contains('\u{200b}') && !said.contains('\r'),
            "{said}"
        );
    }
}
