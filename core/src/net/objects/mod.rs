//! Object storage: files in a folder of a bucket, read in parts and written whole. The protocols are those of the crate
//! `object_store`; the connections are ours, so that every host is checked.

mod connection;
mod provider;
mod upload;

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use object_store::path::Path as Key;
use object_store::{
    Error as Failure, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};
use tokio::runtime::Runtime;

use super::patiently;
use crate::base::locked;
use crate::common::*;
use connection::Connection;
use upload::Upload;

/// Parts that are asked for at the same time.
const AT_ONCE: usize = 16;

/// Returns whether a path is an address in object storage, such as `s3://bucket/folder`.
pub fn is_remote(path: &Path) -> bool {
    path.to_str().and_then(|text| text.split_once("://")).is_some_and(|(scheme, _)| provider::of(scheme).is_some())
}

/// A function that gets the number of a part, its bytes, and the length of its file, which may end before the part
/// does.
pub type Show<'a> = dyn FnMut(usize, &[u8], u64) -> Result<()> + 'a;

/// A folder in a bucket.
pub struct BucketFolder {
    store: Box<dyn ObjectStore>,
    /// The connections live in it. Whoever asks waits for the answer.
    runtime: Mutex<Option<Runtime>>,
    /// Address of the folder, such as `s3://bucket/folder`.
    address: String,
    folder: Key,
    task: Task,
}

/// A small file, and which of its versions it is.
pub struct VersionedFile {
    pub bytes: Vec<u8>,
    pub version: Version,
}

/// The version of a file, by which the server knows whether it has changed.
pub struct Version(UpdateVersion);

/// The size and the hash of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    pub bytes: u64,
    pub sha256: String,
}

impl BucketFolder {
    /// Makes the folder at an address such as `s3://bucket/folder`. Nothing is asked yet.
    pub fn new(files: &Files, address: &Path) -> Result<Self> {
        let wrong = |what: &str| {
            err!(Argument, "expected an address such as s3://bucket/folder, found `{}`: {what}", address.display())
        };
        let text = address.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it names no storage"))?;
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(wrong("it names no bucket"));
        }
        let folder = Key::parse(folder.trim_end_matches('/')).map_err(|e| wrong(&e.to_string()))?;
        let provider = provider::of(scheme).ok_or_else(|| wrong("it is of no storage that is known"))?;
        // Variables that are not UTF-8 are none of ours.
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables = std::env::vars_os().filter_map(text).collect();
        let store = provider(bucket, variables, Connection::new(files.access())?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| err!(Network, "cannot start the network client: {e}"))?;
        let address = format!("{scheme}://{bucket}/{folder}");
        Ok(Self { store, runtime: Mutex::new(Some(runtime)), address, folder, task: files.task().clone() })
    }

    /// Returns the address of a file, as messages and records show it.
    pub fn address(&self, name: &str) -> PathBuf {
        Path::new(&self.address).join(name)
    }

    /// Reads a file of at most `most` bytes; None if there is none.
    pub fn whole(&self, name: &str, most: u64) -> Result<Option<VersionedFile>> {
        let Some(found) = self.there(name, self.ask(self.store.get(&self.key(name)))?)? else { return Ok(None) };
        if found.meta.size > most {
            return Err(err!(
                Format,
                "{}: expected at most {most} bytes, found {}",
                self.address(name).display(),
                found.meta.size
            ));
        }
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = self.ask(found.bytes())?.map_err(|e| self.failed(name, e))?;
        Ok(Some(VersionedFile { bytes: bytes.into(), version: Version(version) }))
    }

    /// Returns the length of a file; None if there is none.
    pub fn length(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.there(name, self.ask(self.store.head(&self.key(name)))?)?.map(|meta| meta.size))
    }

    /// Reads parts of files, several of them on their way at the same time, and shows them in order.
    pub fn parts(&self, wanted: impl IntoIterator<Item = (String, Range<u64>)>, show: &mut Show) -> Result<()> {
        let one = async |(name, range): (String, Range<u64>)| {
            let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            let found = async {
                let found = self.store.get_opts(&self.key(&name), options).await?;
                let length = found.meta.size;
                let served = found.range.clone();
                Ok((found.bytes().await?, length, served))
            };
            let (bytes, length, served) = found.await.map_err(|e| self.failed(&name, e))?;
            let whole = range.start..range.end.min(length);
            if served != whole || bytes.len() as u64 != whole.end - whole.start {
                return Err(err!(
                    Network,
                    "{}: expected the bytes {whole:?}, found {served:?}",
                    self.address(&name).display()
                ));
            }
            Ok((bytes, length))
        };
        let mut all = std::pin::pin!(stream::iter(wanted).map(one).buffered(AT_ONCE).enumerate());
        self.with_runtime(|runtime| {
            runtime.block_on(async {
                while let Some((number, found)) = patiently(&self.task, all.next()).await? {
                    let (bytes, length) = found?;
                    show(number, &bytes, length)?;
                }
                Ok(())
            })
        })?
    }

    /// Writes a file piece by piece, as `fill` gives it, and asks whether it is there. What is not complete never appears.
    pub fn write(&self, name: &str, fill: impl FnOnce(&mut dyn std::io::Write) -> Result<()>) -> Result<WrittenFile> {
        let mut upload = Upload::new(self, name);
        let filled = fill(&mut upload);
        let written = match upload.failure() {
            // Reported by the writer as one of files, through layers of encoders: what the server said is better.
            Some(failure) => Err(failure),
            None => filled.and_then(|()| upload.finish()),
        };
        let written = written.inspect_err(|_| upload.abort())?;
        match self.length(name)? {
            Some(length) if length == written.bytes => Ok(written),
            found => {
                let found = found.map_or("nothing".into(), |length| format!("{length} bytes"));
                Err(err!(
                    Network,
                    "{}: expected the {} bytes that the storage said it had kept, found {found}",
                    self.address(name).display(),
                    written.bytes
                )
                .hint("run it again: it goes on after what was kept"))
            }
        }
    }

    /// Writes a small file in place of the version that is known, or where none is: an error if another program has written
    /// there since.
    pub fn replace(&self, name: &str, content: &[u8], known: Option<&Version>) -> Result<Version> {
        let mode = match known {
            None => PutMode::Create,
            Some(Version(version)) => PutMode::Update(version.clone()),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.ask(self.store.put_opts(&self.key(name), content.to_vec().into(), options))?;
        match put {
            Ok(put) => Ok(Version(UpdateVersion { e_tag: put.e_tag, version: put.version })),
            Err(Failure::Precondition { .. } | Failure::AlreadyExists { .. }) => {
                // A request whose answer was lost is sent again, and finds what it has written itself.
                match self.whole(name, content.len() as u64) {
                    Ok(Some(there)) if there.bytes == content => Ok(there.version),
                    _ => Err(err!(
                        File,
                        "cannot write {}: another program has written it meanwhile",
                        self.address(name).display()
                    )
                    .hint("let one run write there, and the others wait for it")),
                }
            }
            Err(e) => Err(self.failed(name, e)),
        }
    }

    fn key(&self, name: &str) -> Key {
        self.folder.clone().join(name)
    }

    /// Returns the answer to a question about a file that need not exist.
    fn there<T>(&self, name: &str, answer: object_store::Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(Failure::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(name, e)),
        }
    }

    fn ask<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<object_store::Result<T>> {
        self.with_runtime(|runtime| runtime.block_on(patiently(&self.task, work)))?
    }

    fn with_runtime<T>(&self, work: impl FnOnce(&Runtime) -> T) -> Result<T> {
        let held: MutexGuard<Option<Runtime>> = locked(&self.runtime);
        match held.as_ref() {
            Some(runtime) => Ok(work(runtime)),
            None => Err(err!(Bug, "a bucket without its connections")),
        }
    }

    /// Builds the error of a server that did not do what it was asked for.
    fn failed(&self, name: &str, failure: Failure) -> Error {
        let what = self.address(name).display().to_string();
        match failure {
            Failure::NotFound { .. } => err!(File, "{what} is not there"),
            Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => {
                err!(Network, "{what}: the storage refuses these credentials").hint(provider::VARIABLES)
            }
            other => match connection::ours(&other) {
                Some(refusal) => refusal,
                None => err!(Network, "{what}: {}", connection::error_and_cause(&other))
                    .hint("check the address, the region or endpoint, and the network connection"),
            },
        }
    }
}

impl Drop for BucketFolder {
    fn drop(&mut self) {
        // Never waits: a name lookup of the system cannot be cancelled.
        let held = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner);
        held.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl std::fmt::Debug for BucketFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)
    }
}
