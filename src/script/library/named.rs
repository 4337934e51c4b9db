//! Libraries by name: of each the version that the lock file has, as long as it fits, and else the newest of its index;
//! and whether an archive is what the index says of it. What the lock file and the cache have is asked for nowhere. A
//! locked version that this program cannot use stays locked, so that it is in nobody's way.

use std::collections::btree_map::Entry as Slot;

use semver::{Version, VersionReq};

use super::LOCK;
use super::choosing::{self, Candidate, Chosen, LibraryId, Need, Versions};
use super::fetching::{Archives, ProjectFolder};
use super::index::{self, Entry, Index};
use super::lock::{Lock, LockedLibrary};
use super::manifest::{self, LibrarySource, Manifest};
use super::project::same_index;
use crate::script::prelude::*;

/// A library that was chosen by its name.
pub struct NamedLibrary {
    pub locked: LockedLibrary,
    /// The first who needs it.
    pub who: String,
    pub notes: Vec<LibraryNote>,
}

/// A line about a library in the table of what is added.
pub struct LibraryNote {
    pub title: &'static str,
    pub words: String,
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
    /// Libraries of which the lock file has a version that this program cannot use.
    unusable: BTreeMap<LibraryId, Vec<LibraryNote>>,
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
            unusable: BTreeMap::new(),
        }
    }

    /// Chooses the libraries that are needed, and those that they need; sorted by name.
    pub fn chosen(mut self, needs: Vec<Need>) -> Result<Vec<NamedLibrary>> {
        let chosen = choosing::choose(&mut self, needs)?;
        chosen.into_iter().map(|chosen| self.checked(chosen)).collect()
    }

    /// Opens the archive of a chosen version, and refuses one that is not what its entry says. What cannot be used here
    /// is left as the lock file has it.
    fn checked(&mut self, chosen: Chosen) -> Result<NamedLibrary> {
        let Chosen { library, candidate, who } = chosen;
        let Candidate { version, address, hash, needs } = candidate;
        if let Some(locked) = self.locked(&library)
            && locked.version()? == version
            && let Some(notes) = self.unusable.remove(&library)
        {
            return Ok(NamedLibrary { locked: locked.clone(), who, notes });
        }
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
        let yanked = entry.is_some_and(|entry| entry.yanked).then(|| LibraryNote {
            title: "yanked",
            words: format!("withdrawn by its author; it stays, since {LOCK} has it"),
        });
        Ok(NamedLibrary { locked, who, notes: yanked.into_iter().collect() })
    }

    /// Returns what the lock file has of a library, if it is from this index.
    fn locked(&self, library: &LibraryId) -> Option<&'s LockedLibrary> {
        let before = self.before;
        let is_same = |index: &String| same_index(index, &library.index, &self.ground.root);
        before.get(&library.name).filter(|locked| locked.index.as_ref().is_some_and(is_same))
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
        let (Some(index), LibrarySource::Archive { address, hash }) = (&locked.index, locked.source()?) else {
            return Ok(None);
        };
        // The path of the index may be written otherwise now.
        let address = match address.strip_prefix(index.as_str()) {
            Some(rest) => format!("{}{rest}", library.index),
            None => address,
        };
        let (why, there) = if self.archives.has(&hash)? {
            let error = match self.archives.manifest(&address, &hash) {
                Ok((manifest, file)) => {
                    expect_locked(&manifest, &file, &library.name, &version)?;
                    let needs = manifest.named_dependencies()?;
                    return Ok(Some(Candidate { version, address, hash, needs }));
                }
                Err(error) => error,
            };
            let Some(misfit) = self.archives.misfit(&address, &hash)? else { return Err(error) };
            let there = match self.entries_if_there(library) {
                Err(error) if matches!(error.kind, Kind::Format | Kind::Interrupted) => return Err(error),
                // The index is asked for another version only, and may be out of reach.
                there => there.ok().flatten().unwrap_or_default(),
            };
            (misfit.message, there)
        } else {
            let there = self.entries_if_there(library)?.unwrap_or_default();
            let why = match there.iter().find(|entry| entry.version == version) {
                Some(entry) => match manifest::misfit(&entry.name, &entry.microtome) {
                    Some(misfit) => misfit.message,
                    None => return Ok(Some(candidate(library, entry))),
                },
                None => "neither the index nor the cache has it any more".into(),
            };
            (why, there)
        };
        self.unusable.insert(library.clone(), notes_on_unusable(&why, &there));
        let needs = match there.iter().find(|entry| entry.version == version) {
            Some(entry) => entry.needs(),
            None => self.locked_needs(locked)?,
        };
        Ok(Some(Candidate { version, address, hash, needs }))
    }

    /// Returns the libraries that a locked one needs, each in the versions that go with the locked one.
    fn locked_needs(&self, locked: &LockedLibrary) -> Result<BTreeMap<String, VersionReq>> {
        let needs = locked.needs.iter().filter_map(|need| self.before.get(need));
        let versions = needs.map(|need| {
            let versions = VersionReq::parse(&need.version()?.to_string()).map_err(|e| err!(Bug, "{e}"))?;
            Ok((need.name.clone(), versions))
        });
        versions.collect()
    }

    /// Returns what the index says of a library, newest version first.
    fn entries(&mut self, library: &LibraryId) -> Result<Rc<[Entry]>> {
        match self.entries_if_there(library)? {
            Some(entries) => Ok(entries),
            None => Err(self.index(&library.index)?.missing(&library.name)),
        }
    }

    /// Returns what the index says of a library, newest version first, if it has the library.
    fn entries_if_there(&mut self, library: &LibraryId) -> Result<Option<Rc<[Entry]>>> {
        if let Some(known) = self.entries.get(library) {
            return Ok(Some(known.clone()));
        }
        let Some(mut entries) = self.index(&library.index)?.entries_if_there(&library.name)? else { return Ok(None) };
        entries.sort_by(|one, other| other.version.cmp(&one.version));
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
        Ok(Some(entries))
    }

    fn index(&mut self, place: &str) -> Result<&Index<'a>> {
        let ProjectFolder { root, files, task, .. } = self.ground;
        let index: &Index = match self.indexes.entry(place.into()) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(slot) => slot.insert(Index::open(place, root, files, task)?),
        };
        Ok(index)
    }

    /// Returns a version that a project may take anew, the newest one after as many others; `but` is a locked one,
    /// which the index need not have.
    fn newest(&mut self, library: &LibraryId, after: usize, but: Option<&Version>) -> Result<Option<Candidate>> {
        let entries = match but {
            Some(_) => self.entries_if_there(library)?.unwrap_or_default(),
            None => self.entries(library)?,
        };
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
        Ok(index::versions_text(&self.entries_if_there(library)?.unwrap_or_default()))
    }
}

/// Refuses an archive of another library, or of another version, than the one that the lock file has it for.
fn expect_locked(manifest: &Manifest, file: &str, wanted: &str, version: &Version) -> Result<()> {
    let (name, found) = manifest.named(file)?;
    if name == wanted && found == version {
        return Ok(());
    }
    Err(err!(File, "{LOCK} has `{wanted}` {version}, and its archive is `{name}` {found}")
        .hint(format!("remove it from {LOCK}, and run `microtome add`")))
}

/// Says why a version of the lock file cannot be used here, what becomes of it, and which version can be used.
fn notes_on_unusable(why: &str, there: &[Entry]) -> Vec<LibraryNote> {
    let mut notes = vec![LibraryNote { title: "unusable", words: format!("{why}; it stays in {LOCK} as it is") }];
    // A version before a release is suggested to nobody.
    let newest = there.iter().find(|entry| entry.is_open() && VersionReq::STAR.matches(&entry.version));
    if let Some(Entry { name, version, .. }) = newest {
        let words = format!("{version}, by `microtome add {name}@{version}`");
        notes.push(LibraryNote { title: "newest here", words });
    }
    notes
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
