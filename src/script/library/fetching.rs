//! The archives that a project needs: those that the cache has, and those that are fetched, each with the hash that it
//! must have. Nothing is written here.

use super::manifest::{self, Manifest};
use super::project::cleaned;
use super::{MANIFEST, archive};
use crate::base::memory::human;
use crate::script::prelude::*;

/// Largest size of all archives that are fetched for a project.
const MOST_TOGETHER: u64 = 256 << 20;

/// The folder of a project, what its files say, and where libraries are kept.
pub struct ProjectFolder<'a> {
    pub root: PathBuf,
    pub files: &'a Files,
    pub cache: Option<&'a Path>,
    pub task: &'a Task,
}

impl ProjectFolder<'_> {
    /// Reads the text of a file of the project, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let place = self.root.join(name);
        let is_there = self.files.has(&place)? && place.is_file();
        is_there.then(|| self.files.script(&place)).transpose()
    }
}

/// The archives of a project.
pub struct Archives<'a> {
    ground: &'a ProjectFolder<'a>,
    /// Archives that the cache does not have, by their hashes.
    pub fetched: BTreeMap<String, Vec<u8>>,
}

impl<'a> Archives<'a> {
    pub fn new(ground: &'a ProjectFolder<'a>) -> Self {
        Self { ground, fetched: BTreeMap::new() }
    }

    /// Fetches an archive of which nothing is known yet, and returns its hash.
    pub fn hash(&mut self, address: &str) -> Result<String> {
        let bytes = self.fetch(address)?;
        let hash = archive::hash(&bytes);
        self.keep(hash.clone(), bytes)?;
        Ok(hash)
    }

    /// Returns whether the archive with this hash is at hand without being fetched.
    pub fn has(&self, hash: &str) -> Result<bool> {
        Ok(self.fetched.contains_key(hash) || self.ground.files.has(&archive::place(self.ground.cache, hash)?)?)
    }

    /// Reads the manifest of an archive; returns the name that errors call it by, too.
    pub fn manifest(&mut self, address: &str, hash: &str) -> Result<(Manifest, String)> {
        let text = self.manifest_text(address, hash)?;
        let file = format!("{address}: {MANIFEST}");
        Ok((Manifest::parse(&text, &file)?, file))
    }

    /// Returns why this program cannot run the library of an archive, if that is for other versions of it.
    pub fn misfit(&mut self, address: &str, hash: &str) -> Result<Option<Error>> {
        Ok(manifest::misfit_of(&self.manifest_text(address, hash)?))
    }

    fn manifest_text(&mut self, address: &str, hash: &str) -> Result<String> {
        let bytes = self.bytes(address, hash)?;
        let mut texts = archive::unpacked(&bytes, self.ground.task).map_err(|e| e.within(address))?;
        Ok(texts.remove(MANIFEST).unwrap_or_default())
    }

    fn bytes(&mut self, address: &str, wanted: &str) -> Result<Vec<u8>> {
        let ProjectFolder { files, cache, .. } = self.ground;
        if let Some(bytes) = self.fetched.get(wanted) {
            return Ok(bytes.clone());
        }
        if let Some(bytes) = archive::cached(files, *cache, wanted)? {
            return Ok(bytes);
        }
        let bytes = self.fetch(address)?;
        let found = archive::hash(&bytes);
        if found != wanted {
            return Err(err!(
                Network,
                "{address} is not the expected archive: expected SHA-256 {wanted}, found {found}"
            )
            .hint("ask its author which of the two is right before you use it"));
        }
        self.keep(found, bytes.clone())?;
        Ok(bytes)
    }

    /// Keeps a fetched archive until the user has said whether it is to be added.
    fn keep(&mut self, hash: String, bytes: Vec<u8>) -> Result<()> {
        let together = self.fetched.values().map(Vec::len).sum::<usize>() + bytes.len();
        if together as u64 > MOST_TOGETHER {
            bail!(File, "expected archives of at most {} together, found more", human(MOST_TOGETHER.into()));
        }
        self.fetched.insert(hash, bytes);
        Ok(())
    }

    /// Fetches an archive from its address, or reads that of an index in a folder.
    fn fetch(&self, address: &str) -> Result<Vec<u8>> {
        let ProjectFolder { root, files, task, .. } = self.ground;
        if manifest::is_address(address) {
            return archive::fetch(files.access(), task, address);
        }
        files.of_program(&cleaned(&root.join(address)))
    }
}
