//! Places of the files of a store: a folder, or a bucket of object storage.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::manifest::{MANIFEST, Manifest};
use crate::base::files::hex;
use crate::common::*;
use crate::net::{BucketFolder, Version, is_remote};

/// The largest manifest of a bucket: some hundred thousand shards.
const LARGEST: u64 = 64 << 20;

/// The folder of a store.
pub struct StorePlace {
    pub files: Files,
    /// The folder as it was given, with links resolved.
    pub folder: PathBuf,
    pub remote: Option<Arc<BucketFolder>>,
}

/// A manifest at its place.
pub struct PlacedManifest {
    pub manifest: Manifest,
    /// The version by which a bucket recognises a change.
    pub version: Option<Version>,
}

impl StorePlace {
    /// Opens a place to read.
    pub fn new(files: &Files, folder: &Path) -> Result<Self> {
        let remote = is_remote(folder).then(|| BucketFolder::new(files, folder).map(Arc::new)).transpose()?;
        Ok(Self { files: files.clone(), folder: folder.to_path_buf(), remote })
    }

    /// Opens a place to write.
    pub fn to_write(files: &Files, folder: &Path) -> Result<Self> {
        if is_remote(folder) {
            return Self::new(files, folder);
        }
        let path = files.access().to_write(&folder.join(MANIFEST))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Ok(Self { files: files.clone(), folder, remote: None })
    }

    /// Returns the path of a file, as messages and records name it.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.remote {
            Some(remote) => remote.address(name),
            None => self.folder.join(name),
        }
    }

    /// Locks out other runs, where that is possible. A run that shares a bucket with another one fails when it writes
    /// the manifest.
    pub fn lock(&self) -> Result<()> {
        match self.remote {
            Some(_) => Ok(()),
            None => self.files.lock(&self.folder),
        }
    }

    /// Returns the manifest, if there is one.
    pub fn manifest(&self) -> Result<Option<PlacedManifest>> {
        let path = self.path(MANIFEST);
        let Some(remote) = &self.remote else {
            let there = self.files.has(&path)?.then(|| Manifest::read(&self.files, &path)).transpose()?;
            return Ok(there.map(|manifest| PlacedManifest { manifest, version: None }));
        };
        let Some(found) = remote.whole(MANIFEST, LARGEST)? else { return Ok(None) };
        self.files.note_input(path.clone(), hex(&Sha256::digest(&found.bytes)))?;
        let text = crate::base::files::utf8(found.bytes);
        let manifest = text.and_then(|text| Manifest::parsed(&text)).map_err(|e| e.within(path.display()))?;
        Ok(Some(PlacedManifest { manifest, version: Some(found.version) }))
    }

    /// Returns the manifest, which must be there.
    pub fn expect_manifest(&self) -> Result<Manifest> {
        match &self.remote {
            None => Manifest::read(&self.files, &self.path(MANIFEST)),
            Some(_) => self.manifest()?.map(|there| there.manifest).ok_or_else(|| {
                err!(File, "{} is not there", self.path(MANIFEST).display())
                    .hint("expected the folder of a store, which `data::harvest` writes")
            }),
        }
    }

    /// Writes the manifest in place of the known version.
    pub fn save_manifest(&self, manifest: &Manifest, known: Option<&Version>) -> Result<Option<Version>> {
        let text = manifest.text()?;
        match &self.remote {
            Some(remote) => {
                let version = remote.replace(MANIFEST, text.as_bytes(), known)?;
                self.files.note_output(self.path(MANIFEST), hex(&Sha256::digest(&text)));
                Ok(Some(version))
            }
            None => {
                self.files.save_whole(&self.path(MANIFEST), text)?;
                Ok(None)
            }
        }
    }

    /// Writes a file, and returns its length and SHA-256.
    pub fn save(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<(u64, String)> {
        let path = self.path(name);
        if let Some(remote) = &self.remote {
            let written = remote.write(name, fill)?;
            self.files.note_output(path, written.sha256.clone());
            return Ok((written.bytes, written.sha256));
        }
        let place = self.files.save(&path, fill)?;
        let sha256 = self.files.ledger().written.get(&place).cloned();
        let sha256 = sha256.ok_or_else(|| err!(Bug, "a file that was written without a hash"))?;
        Ok((self.length(name)?, sha256))
    }

    /// Returns the length of a file.
    pub fn length(&self, name: &str) -> Result<u64> {
        let path = self.path(name);
        if let Some(remote) = &self.remote {
            return remote.length(name)?.ok_or_else(|| err!(File, "{} is not there", path.display()));
        }
        let (file, _) = self.files.open(&path)?;
        let meta = file.metadata().map_err(|e| Error::io("read", &path, &e))?;
        Ok(meta.len())
    }
}
