//! Object storage in a build without the feature `objects`: its addresses are known, and refused.

use std::convert::Infallible;
use std::io::Write;

use crate::common::*;

/// Tells whether a path is an address in object storage, such as `s3://bucket/folder`.
pub fn is_remote(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| matches!(scheme, "s3" | "gs" | "az"))
}

/// A folder in a bucket, of which there is none.
#[derive(Debug)]
pub struct BucketFolder(Infallible);

/// The version of a file in a bucket.
pub struct Version;

/// A small file, and which of its versions it is.
pub struct VersionedFile {
    pub bytes: Vec<u8>,
    pub version: Version,
}

/// A file that was written.
pub struct WrittenFile {
    pub bytes: u64,
    pub sha256: String,
}

/// Gets the number of a part, its bytes, and the length of its file.
pub type Show<'a> = dyn FnMut(usize, &[u8], u64) -> Result<()> + 'a;

impl BucketFolder {
    pub fn new(_files: &Files, address: &Path) -> Result<Self> {
        Err(Error::not_built("object storage", "objects").within(address.display()))
    }

    pub fn address(&self, _name: &str) -> PathBuf {
        match self.0 {}
    }

    pub fn whole(&self, _name: &str, _most: u64) -> Result<Option<VersionedFile>> {
        match self.0 {}
    }

    pub fn length(&self, _name: &str) -> Result<Option<u64>> {
        match self.0 {}
    }

    pub fn parts(&self, _wanted: impl IntoIterator<Item = (String, Range<u64>)>, _show: &mut Show) -> Result<()> {
        match self.0 {}
    }

    pub fn write(&self, _name: &str, _fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<WrittenFile> {
        match self.0 {}
    }

    pub fn replace(&self, _name: &str, _content: &[u8], _known: Option<&Version>) -> Result<Version> {
        match self.0 {}
    }
}
