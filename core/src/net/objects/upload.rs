//! A file on its way into a bucket: small ones in one request, others in parts, several of them at a time.

use std::io::{self, Write};

use object_store::{MultipartUpload, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};

use super::{BucketFolder, WrittenFile};
use crate::base::files::hex;
use crate::base::{Error, Result};

/// The size of a part.
const PART: usize = 8 << 20;
/// Parts that are on their way at the same time.
const PARTS: usize = 4;

pub struct Upload<'a> {
    remote: &'a BucketFolder,
    name: &'a str,
    /// Bytes that are not sent while they may still be all of the file.
    first: Vec<u8>,
    parts: Option<WriteMultipart>,
    hash: Sha256,
    bytes: u64,
    failure: Option<Error>,
}

impl<'a> Upload<'a> {
    pub fn new(remote: &'a BucketFolder, name: &'a str) -> Self {
        Self { remote, name, first: Vec::new(), parts: None, hash: Sha256::new(), bytes: 0, failure: None }
    }

    /// Takes the error that happened on the way.
    pub fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Sends what is left, and waits until the storage has all of it.
    pub fn finish(&mut self) -> Result<WrittenFile> {
        let remote = self.remote;
        let name = self.name;
        let sent = match self.parts.take() {
            None => {
                let content = std::mem::take(&mut self.first);
                remote.ask(remote.store.put(&remote.key(name), content.into()))?
            }
            Some(parts) => remote.ask(parts.finish())?,
        };
        sent.map_err(|e| remote.failed(name, e))?;
        Ok(WrittenFile { bytes: self.bytes, sha256: hex(&self.hash.clone().finalize()) })
    }

    /// Tells the storage to forget the parts that it has. What it does not hear of, its own rules remove.
    pub fn abort(&mut self) {
        if let Some(parts) = self.parts.take() {
            let _unheard = self.remote.with_runtime(|runtime| {
                let limit = std::time::Duration::from_millis(100);
                runtime.block_on(async { tokio::time::timeout(limit, parts.abort()).await.is_ok() })
            });
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let remote = self.remote;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.parts.is_none() {
            self.first.extend_from_slice(bytes);
            if self.first.len() <= PART {
                return Ok(());
            }
            let begun: Box<dyn MultipartUpload> = remote
                .ask(remote.store.put_multipart(&remote.key(self.name)))?
                .map_err(|e| remote.failed(self.name, e))?;
            self.parts = Some(WriteMultipart::new_with_chunk_size(begun, PART));
            let first = std::mem::take(&mut self.first);
            return self.add(&first);
        }
        self.add(bytes)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let remote = self.remote;
        let name = self.name;
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let sent = remote.ask(async {
            parts.write(bytes);
            parts.wait_for_capacity(PARTS).await
        })?;
        sent.map_err(|e| remote.failed(name, e))
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One call may have a whole tensor.
        for part in bytes.chunks(PART) {
            if let Err(failure) = self.send(part) {
                self.failure = Some(failure);
                return Err(io::Error::other("the storage failed"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
