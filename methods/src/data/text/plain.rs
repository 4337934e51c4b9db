//! Plain text: splitting it into documents, and skipping what is not text.

use std::collections::VecDeque;

use super::cut::{self, PIECE};
use super::find::TextFile;
use super::lines::Lines;
use super::tally::SharedTally;
use super::{DocumentReader, EMPTY};
use crate::common::*;
use crate::data::Document;

/// Rules that split a file into documents; by default a file is one document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// The string between documents, which is part of none.
    pub separator: Option<String>,
    /// Beginnings of a document's first line, which follows an empty line or is the first of the file.
    pub starts: Vec<String>,
}

pub struct PlainDocuments {
    lines: Lines,
    bounds: Arc<Bounds>,
    /// Text of the document that has been read and not returned yet.
    buffer: String,
    /// The bytes of the buffer that contain no separator.
    searched: usize,
    /// The bytes of the document returned so far.
    given: u64,
    origin: Arc<str>,
    /// Whether the next bytes begin a line, and whether the line before is empty.
    fresh: bool,
    after_empty: bool,
    ready: VecDeque<Document>,
    ended: bool,
}

impl PlainDocuments {
    pub fn open(files: &Files, file: &TextFile, bounds: Arc<Bounds>, task: &Task) -> Result<Self> {
        let lines = Lines::open(files, file, task)?;
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
        })
    }

    /// Reads the next line.
    fn read(&mut self, tally: &SharedTally, task: &Task) -> Result<()> {
        let Some(bytes) = self.lines.next(PIECE, task)? else {
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

    /// Ends the document at each separator in the buffer.
    fn separate(&mut self, tally: &SharedTally) {
        let bounds = self.bounds.clone();
        let Some(separator) = &bounds.separator else { return };
        // A separator may begin in the part that was searched before.
        let mut from = self.searched.saturating_sub(separator.len());
        while !self.buffer.is_char_boundary(from) {
            from -= 1;
        }
        self.searched = self.buffer.len();
        let Some(first) = self.buffer.get(from..).and_then(|rest| rest.find(separator.as_str())) else { return };
        // The rest is split in place, since a line may have as many separators as bytes.
        let rest = self.buffer.split_off(from + first);
        let mut rest = rest.get(separator.len()..).unwrap_or_default();
        loop {
            self.finish(tally);
            self.origin = self.lines.place().into();
            let Some((document, behind)) = rest.split_once(separator.as_str()) else { break };
            self.buffer.push_str(document);
            rest = behind;
        }
        self.buffer.push_str(rest);
        self.searched = rest.len();
    }

    /// Returns a piece of a long document, up to a possible beginning of a separator.
    fn shorten(&mut self) {
        let kept = self.bounds.separator.as_ref().map_or(0, String::len);
        self.give_down_to(PIECE + kept, cut::is_open);
    }

    /// Returns pieces until at most this many bytes are left, or what is left waits for more.
    fn give_down_to(&mut self, most: usize, waits: fn(&str) -> bool) {
        if self.buffer.len() <= most {
            return;
        }
        let whole = std::mem::take(&mut self.buffer);
        let mut rest = whole.as_str();
        while rest.len() > most && !waits(rest) {
            let (text, behind) = rest.split_at(cut::place(rest));
            self.give(text.to_string());
            rest = behind;
        }
        self.searched = self.searched.saturating_sub(whole.len() - rest.len());
        self.buffer.push_str(rest);
    }

    /// Ends the document.
    fn finish(&mut self, tally: &SharedTally) {
        self.give_down_to(PIECE, |_| false);
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
        self.ready.push_back(Document { text, origin: self.origin.clone(), at, marks: None, ids: None });
    }
}

impl DocumentReader for PlainDocuments {
    fn next(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Document>> {
        while self.ready.is_empty() && !self.ended {
            task.check()?;
            self.read(tally, task)?;
        }
        Ok(self.ready.pop_front())
    }
}
