//! Libraries by name: of each the version that the lock file has, as long as it fits, and else the newest of its index;
//! and whether an archive is what the index says of it. What the lock file and the cache have is asked for nowhere.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use semver::Version;

use super::LOCK;
use super::choosing::{self, Candidate, Chosen, LibraryId, Need, Versions};
use super::fetching::{Archives, ProjectFolder};
use super::index::{self, Entry, Index};
use super::lock::{Lock, LockedLibrary};
use super::manifest::LibrarySource;
use crate::script::prelude::*;

/// A library that was chosen by its name.
pub struct NamedLibrary {
    pub locked: LockedLibrary,
    /// The first who needs it.
    pub who: String,
    /// Whether its author has withdrawn the version, so far as that was asked.
    pub is_yanked: bool,
}

/// A search for libraries by name.
pub struct NamedSearch<'s, 'a> {
    ground: &'a ProjectFolder<'a>,
    /// The lock file, whose versions come first.
    before: &'s Lock,
    /// A library whose newest version is wanted, whichever the lock file has.
    anew: Option<&'s str>,
    archives: &'s mut Archives<'a>,
    indexes: BTreeMap<String, Index<'a>>,
    /// Entries of libraries, newest version first.
    entries: BTreeMap<LibraryId, Rc<[Entry]>>,
    /// Versions of the lock file that may stay.
    staying: BTreeMap<LibraryId, Option<Candidate>>,
}

impl<'s, 'a> NamedSearch<'s, 'a> {
    pub fn new(
        ground: &'a ProjectFolder<'a>,
        before: &'s Lock,
        anew: Option<&'s str>,
        archives: &'s mut Archives<'a>,
    ) -> Self {
        Self {
            ground,
            before,
            anew,
            archives,
            indexes: BTreeMap::new(),
            entries: BTreeMap::new(),
            staying: BTreeMap::new(),
        }
    }

    /// Chooses the libraries that are needed, and those that they need; sorted by name.
    pub fn chosen(mut self, needs: Vec<Need>) -> Result<Vec<NamedLibrary>> {
        let chosen = choosing::choose(&mut self, needs)?;
        chosen.into_iter().map(|chosen| self.checked(chosen)).collect()
    }

    /// Opens the archive of a chosen version, and refuses one that is not what its entry says.
    fn checked(&mut self, chosen: Chosen) -> Result<NamedLibrary> {
        let Chosen { library, candidate, who } = chosen;
        let Candidate { version, address, hash, needs } = candidate;
        let (manifest, file) = self.archives.manifest(&address, &hash)?;
        let entries = self.entries.get(&library).map(|entries| entries.iter());
        let entry = entries.into_iter().flatten().find(|entry| entry.version == version);
        if let Some(entry) = entry {
            let unlike = entry.differences(&manifest, &file)?;
            if !unlike.is_empty() {
                return Err(err!(
                    Format,
                    "{address} is not what the index {} says of `{}` {version}: {}",
                    library.index,
                    library.name,
                    unlike.join("; ")
                )
                .hint("do not use it before whoever keeps the index has said which of the two is right"));
            }
        }
        let touches = manifest.touches();
        let locked = LockedLibrary {
            name: library.name,
            version: version.to_string(),
            path: None,
            index: Some(library.index),
            address: Some(address),
            hash: Some(hash),
            read: touches.read,
            write: touches.write,
            net: touches.net,
            needs: needs.into_keys().collect(),
        };
        Ok(NamedLibrary { locked, who, is_yanked: entry.is_some_and(|entry| entry.yanked) })
    }

    /// Returns what the lock file has of a library, if it is from this index.
    fn locked(&self, library: &LibraryId) -> Option<&'s LockedLibrary> {
        let before = self.before;
        before.get(&library.name).filter(|locked| locked.index.as_deref() == Some(library.index.as_str()))
    }

    /// Returns the version of the lock file, if it may stay. An archive that the cache has says itself what it needs;
    /// without it the index is asked, which says, too, whether the version was withdrawn.
    fn staying(&mut self, library: &LibraryId) -> Result<Option<Candidate>> {
        if let Some(known) = self.staying.get(library) {
            return Ok(known.clone());
        }
        let found = match self.locked(library) {
            Some(locked) if self.anew != Some(library.name.as_str()) => self.stays(library, locked)?,
            _ => None,
        };
        self.staying.insert(library.clone(), found.clone());
        Ok(found)
    }

    fn stays(&mut self, library: &LibraryId, locked: &LockedLibrary) -> Result<Option<Candidate>> {
        let version = locked.version()?;
        let LibrarySource::Archive { address, hash } = locked.source()? else { return Ok(None) };
        if !self.archives.has(&hash)? {
            let entries = self.entries(library)?;
            let entry = entries.iter().find(|entry| entry.version == version);
            return Ok(entry.map(|entry| candidate(library, entry)));
        }
        let (manifest, file) = self.archives.manifest(&address, &hash)?;
        let (name, found) = manifest.named(&file)?;
        if *name != library.name || *found != version {
            let wanted = &library.name;
            return Err(err!(File, "{LOCK} has `{wanted}` {version}, and its archive is `{name}` {found}")
                .hint(format!("remove it from {LOCK}, and run `microtome add`")));
        }
        let needs = manifest.named_dependencies()?;
        Ok(Some(Candidate { version, address, hash, needs }))
    }

    /// Returns what the index says of a library, newest version first.
    fn entries(&mut self, library: &LibraryId) -> Result<Rc<[Entry]>> {
        if let Some(known) = self.entries.get(library) {
            return Ok(known.clone());
        }
        let entries = self.index(&library.index)?.entries(&library.name)?;
        if let Some(locked) = self.locked(library)
            && let LibrarySource::Archive { hash, .. } = locked.source()?
            && let Some(entry) = entries.iter().find(|entry| entry.version.to_string() == locked.version)
            && entry.hash != hash
        {
            return Err(err!(
                Format,
                "the index {} has another archive of `{}` {} than before: expected SHA-256 {hash}, found {}",
                library.index,
                library.name,
                entry.version,
                entry.hash
            )
            .hint("a version is never replaced: ask whoever keeps the index what has happened"));
        }
        let entries: Rc<[Entry]> = entries.into();
        self.entries.insert(library.clone(), entries.clone());
        Ok(entries)
    }

    fn index(&mut self, place: &str) -> Result<&Index<'a>> {
        let ProjectFolder { root, files, task, .. } = self.ground;
        let index: &Index = match self.indexes.entry(place.into()) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(slot) => slot.insert(Index::open(place, root, files, task)?),
        };
        Ok(index)
    }

    /// Returns a version that a project may take anew, the newest one after as many others.
    fn newest(&mut self, library: &LibraryId, after: usize, but: Option<&Version>) -> Result<Option<Candidate>> {
        let entries = self.entries(library)?;
        let mut open = entries.iter().filter(|entry| entry.is_open() && but.is_none_or(|but| entry.version != *but));
        Ok(open.nth(after).map(|entry| candidate(library, entry)))
    }
}

impl Versions for NamedSearch<'_, '_> {
    fn candidate(&mut self, library: &LibraryId, after: usize) -> Result<Option<Candidate>> {
        self.ground.task.check()?;
        match (self.staying(library)?, after.checked_sub(1)) {
            (Some(staying), None) => Ok(Some(staying)),
            (Some(staying), Some(after)) => self.newest(library, after, Some(&staying.version)),
            (None, _) => self.newest(library, after, None),
        }
    }

    fn listed(&mut self, library: &LibraryId) -> Result<String> {
        Ok(index::versions_text(&self.entries(library)?))
    }
}

/// Makes a candidate of an entry.
fn candidate(library: &LibraryId, entry: &Entry) -> Candidate {
    Candidate {
        version: entry.version.clone(),
        address: format!("{}/{}", library.index, entry.archive),
        hash: entry.hash.clone(),
        needs: entry.needs(),
    }
}
