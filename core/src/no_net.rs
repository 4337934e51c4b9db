//! Floor 2 in a build without the feature `net`: addresses are known, and refused.

#[path = "net/address.rs"]
mod address;
#[path = "net/download.rs"]
mod download;
#[path = "net/no_objects.rs"]
mod objects;

use std::convert::Infallible;

use crate::common::*;

pub(crate) use address::{is_here, named};
pub use download::Download;
pub use objects::{BucketFolder, Version, is_remote};

fn not_built() -> Error {
    Error::not_built("network", "net")
}

pub fn fetch(_files: &Files, _task: &Task, address: &str, _to: Option<&str>, _sha256: Option<&str>) -> Result<PathBuf> {
    Err(not_built().within(address))
}

/// Refuses to wait: nothing comes.
pub fn wait_for<T>(_work: impl Future<Output = Result<T>>) -> Result<T> {
    Err(not_built())
}

pub async fn pause(_task: &Task, _length: Duration) -> Result<()> {
    Err(not_built())
}

pub async fn within<T>(_task: &Task, _most: Duration, _work: impl Future<Output = T>) -> Result<Option<T>> {
    Err(not_built())
}

/// The answer of a server, of which there is none.
pub struct Answer {
    pub status: u16,
    pub code: Option<String>,
    pub retry_after: Option<u64>,
    pub content: Vec<u8>,
}

/// The answer of a server about a file, of which there is none.
pub struct FileAnswer(Infallible);

impl FileAnswer {
    pub fn status(&self) -> u16 {
        match self.0 {}
    }

    pub fn said(&self, _name: &str) -> Option<&str> {
        match self.0 {}
    }
}

/// A connection, of which there is none.
pub struct Server(Infallible);

impl Server {
    pub fn new(_access: &Access, _token: Option<&str>) -> Result<Self> {
        Err(not_built())
    }

    pub fn patient(access: &Access, token: Option<&str>, _silence: Duration) -> Result<Self> {
        Self::new(access, token)
    }

    pub async fn ask(&self, _task: &Task, _address: &str, _what: &str, _most: u64) -> Result<Answer> {
        match self.0 {}
    }

    pub async fn post(&self, _task: &Task, _address: &str, _what: &str, _json: String, _most: u64) -> Result<Answer> {
        match self.0 {}
    }

    pub async fn head(&self, _task: &Task, _address: &str) -> Result<FileAnswer> {
        match self.0 {}
    }

    pub async fn download(&self, _task: &Task, _wanted: &Download<'_>) -> Result<()> {
        match self.0 {}
    }

    pub async fn beginning(&self, _task: &Task, _address: &str, _count: u64) -> Result<Vec<u8>> {
        match self.0 {}
    }
}
