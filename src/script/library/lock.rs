//! `microtome.lock`: which libraries a project uses, all of them, from where, and what each was granted.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::LOCK;
use super::manifest::{self, LibrarySource, ManifestError};
use crate::base::access::permissions::Touches;
use crate::script::prelude::*;

/// The layout of the file.
const LAYOUT: u32 = 1;

const HEAD: &str = "# Written by `microtome add`: which libraries this project uses, and what they may touch.\n";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    layout: u32,
    #[serde(default, rename = "library")]
    pub libraries: Vec<LockedLibrary>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { layout: LAYOUT, libraries: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLibrary {
    pub name: String,
    pub version: String,
    /// A folder, from that of the lock file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The index that has it: an address, or a folder from that of the lock file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The address of its archive; of an index in a folder the archive itself, from the folder of the lock file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Permissions of the library.
    #[serde(default)]
    pub read: Vec<String>,
    #[serde(default)]
    pub write: Vec<String>,
    #[serde(default)]
    pub net: Vec<String>,
    /// The libraries that it needs itself, by name.
    #[serde(default)]
    pub needs: Vec<String>,
}

impl LockedLibrary {
    pub fn granted(&self) -> Touches {
        Touches { read: self.read.clone(), write: self.write.clone(), net: self.net.clone() }
    }

    pub fn version(&self) -> Result<Version> {
        let Self { name, version, .. } = self;
        version.parse().map_err(|e| err!(Format, "{LOCK}: expected a version of `{name}`, found `{version}`: {e}"))
    }

    /// Returns the library's source; a folder is relative to that of the lock file.
    pub fn source(&self) -> Result<LibrarySource> {
        match (&self.path, &self.address, &self.hash) {
            (Some(path), None, None) => Ok(LibrarySource::Folder(path.clone())),
            (None, Some(address), Some(hash)) => {
                Ok(LibrarySource::Archive { address: address.clone(), hash: manifest::check_hash(hash)? })
            }
            _ => Err(err!(Format, "{LOCK}: expected a path, or an address with a hash, for `{}`", self.name)
                .hint("remove the file and run `microtome add`")),
        }
    }

    pub fn place(&mut self, source: LibrarySource) {
        (self.path, self.address, self.hash) = match source {
            LibrarySource::Folder(path) => (Some(path), None, None),
            LibrarySource::Archive { address, hash } => (None, Some(address), Some(hash)),
        };
    }
}

impl Lock {
    pub fn parse(text: &str, file: &str) -> Result<Self, Box<ManifestError>> {
        let lock: Self = manifest::read(text, file)?;
        if lock.layout != LAYOUT {
            let found = lock.layout;
            return Err(err!(Format, "{file}: expected layout {LAYOUT}, found {found}")
                .hint("a newer microtome wrote it; use that one")
                .into());
        }
        let mut seen = BTreeMap::new();
        for locked in &lock.libraries {
            manifest::check_name(&locked.name).map_err(|e| e.within(file))?;
            if seen.insert(&locked.name, ()).is_some() {
                return Err(err!(Format, "{file}: `{}` stands there twice", locked.name).into());
            }
        }
        Ok(lock)
    }

    pub fn get(&self, name: &str) -> Option<&LockedLibrary> {
        self.libraries.iter().find(|locked| locked.name == name)
    }

    /// Writes the text of the file.
    pub fn text(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|e| Error::new(crate::base::Kind::Bug, e.to_string()))?;
        Ok(format!("{HEAD}{text}"))
    }
}
