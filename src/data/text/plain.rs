//! Plain text: where its documents begin, and what of it is not text.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::cut::{self, PIECE};
use super::lines::Lines;
use super::tally::Shared;
use super::{EMPTY, Reader};
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::data::Document;

/// What divides a file into documents. Without either the file is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// What stands between documents, and belongs to none.
    pub separator: Option<String>,
    /// What the first line of a document begins with, where no line or an empty one stands before it.
    pub starts: Vec<String>,
}

/// So many lines are read between two questions whether to stop.
const BETWEEN_CHECKS: u64 = 1 << 10;

pub struct Plain {
    lines: Lines,
    bounds: Arc<Bounds>,
    /// What has been read of the document and not been given yet.
    buffer: String,
    /// How much of the buffer holds no separator.
    searched: usize,
    /// How many bytes of the document have been given.
    given: u64,
    origin: Arc<str>,
    /// Whether what comes next begins a line, and whether the line before is empty.
    fresh: bool,
    after_empty: bool,
    ready: VecDeque<Document>,
    ended: bool,
    read: u64,
}

impl Plain {
    pub fn open(files: &Files, path: &Path, compressed: bool, bounds: Arc<Bounds>) -> Result<Self> {
        let lines = Lines::open(files, path, compressed)?;
        Ok(Self {
            origin: lines.shown().into(),
            lines,
            bounds,
            buffer: String::new(),
            searched: 0,
            given: 0,
            fresh: true,
            after_empty: true,
            ready: VecDeque::new(),
            ended: false,
            read: 0,
        })
    }

    /// Takes in the next line.
    fn read(&mut self, tally: &Shared) -> Result<()> {
        let Some(bytes) = self.lines.next(PIECE)? else {
            self.ended = true;
            self.finish(tally);
            return Ok(());
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.fresh = bytes.ends_with(b"\n");
            tally.with(|tally| tally.skip("lines of invalid UTF-8", || self.lines.place()));
            return Ok(());
        };
        let ended = text.ends_with('\n');
        let (line, end) = match text.strip_suffix("\r\n") {
            Some(line) => (line, "\n"),
            None => (text, ""),
        };
        let begins = self.fresh && self.after_empty && self.bounds.starts.iter().any(|start| line.starts_with(start));
        self.after_empty = self.fresh && ended && line.trim().is_empty();
        self.fresh = ended;
        let line = [line, end].concat();
        if begins {
            self.finish(tally);
        }
        if self.given == 0 && self.buffer.is_empty() && *self.bounds != Bounds::default() {
            self.origin = self.lines.place().into();
        }
        self.buffer.push_str(&line);
        self.separate(tally);
        self.shorten();
        Ok(())
    }

    /// Ends the document at each separator that has come.
    fn separate(&mut self, tally: &Shared) {
        let bounds = self.bounds.clone();
        let Some(separator) = &bounds.separator else { return };
        loop {
            // One may have begun in what was searched before.
            let mut from = self.searched.saturating_sub(separator.len());
            while !self.buffer.is_char_boundary(from) {
                from -= 1;
            }
            let Some(at) = self.buffer.get(from..).and_then(|rest| rest.find(separator.as_str())) else {
                self.searched = self.buffer.len();
                return;
            };
            let rest = self.buffer.split_off(from + at);
            self.finish(tally);
            self.buffer.push_str(rest.get(separator.len()..).unwrap_or_default());
            self.origin = self.lines.place().into();
        }
    }

    /// Gives a piece of a long document, short of what may be the beginning of a separator.
    fn shorten(&mut self) {
        let kept = self.bounds.separator.as_ref().map_or(0, String::len);
        self.give_down_to(PIECE + kept);
    }

    /// Gives pieces until no more than this is left.
    fn give_down_to(&mut self, most: usize) {
        while self.buffer.len() > most {
            let rest = self.buffer.split_off(cut::place(&self.buffer));
            let text = std::mem::replace(&mut self.buffer, rest);
            self.searched = self.searched.saturating_sub(text.len());
            self.give(text);
        }
    }

    /// Ends the document.
    fn finish(&mut self, tally: &Shared) {
        self.give_down_to(PIECE);
        let text = std::mem::take(&mut self.buffer);
        self.searched = 0;
        if self.given == 0 && !text.is_empty() && text.trim().is_empty() {
            tally.with(|tally| tally.skip(EMPTY, || self.origin.to_string()));
        } else if !text.is_empty() {
            self.give(text);
        }
        self.given = 0;
    }

    fn give(&mut self, text: String) {
        let at = self.given;
        self.given += text.len() as u64;
        self.ready.push_back(Document { text, origin: self.origin.clone(), at, marks: None });
    }
}

impl Reader for Plain {
    fn next(&mut self, tally: &Shared, task: &Task) -> Result<Option<Document>> {
        while self.ready.is_empty() && !self.ended {
            if self.read.is_multiple_of(BETWEEN_CHECKS) {
                task.check()?;
            }
            self.read += 1;
            self.read(tally)?;
        }
        Ok(self.ready.pop_front())
    }
}
