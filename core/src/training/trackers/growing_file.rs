//! A file that grows at its end while other programs read it.

use std::mem;

use crate::base::clock::Instant;
use crate::common::*;

/// Time after which what was appended is written.
const OFTEN: Duration = Duration::from_secs(1);

/// Time between two calls from which on each is written at once: the next may be long in coming.
const SLOW: Duration = Duration::from_millis(100);

/// Number of bytes that are written at once, however soon.
const MOST: usize = 1 << 16;

/// A file that is written at its end, about once a second. It is open only then: a sweep may have hundreds.
pub struct GrowingFile {
    files: Files,
    path: PathBuf,
    pending: Vec<u8>,
    appended: Instant,
    written: Instant,
}

impl GrowingFile {
    pub fn new(files: &Files, path: PathBuf) -> Self {
        let now = Instant::now();
        Self { files: files.clone(), path, pending: Vec::new(), appended: now, written: now }
    }

    /// Appends bytes, and writes them if that is due.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend(bytes);
        let now = Instant::now();
        let last = mem::replace(&mut self.appended, now);
        let is_due = now.duration_since(self.written) >= OFTEN || now.duration_since(last) >= SLOW;
        if is_due || self.pending.len() >= MOST { self.write() } else { Ok(()) }
    }

    /// Writes what is left to write.
    pub fn write(&mut self) -> Result<()> {
        self.files.append(&self.path, &self.pending)?;
        self.pending.clear();
        self.written = Instant::now();
        Ok(())
    }
}
