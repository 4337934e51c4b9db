//! The lines of a file, plain or compressed, in constant memory.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::find::TextFile;
use crate::base::disk::Mapping;
use crate::common::*;

/// Bytes of a mapped file that are read before its pages are released, and between two checks for an interruption.
const KEPT: usize = 4 << 20;

/// A mapped file, read from its beginning. Decompression may read much of it before there is a line, so interruptions
/// are checked for here.
struct MappedFile {
    map: Mapping,
    at: usize,
    given_back: usize,
    task: Task,
}

impl Read for MappedFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for MappedFile {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.task.check().map_err(io::Error::other)?;
        let end = self.at.saturating_add(KEPT).min(self.map.len());
        Ok(self.map.get(self.at..end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.map.len());
        if self.at - self.given_back >= KEPT {
            memory::give_back(&self.map, self.given_back..self.at);
            self.given_back = self.at;
        }
    }
}

pub struct Lines {
    source: Box<dyn BufRead + Send>,
    shown: String,
    /// The number of line ends so far.
    passed: u64,
    buffer: Vec<u8>,
    /// The end of the part returned before that belongs to the next one: half a character, or half a line end.
    carried: Vec<u8>,
}

impl Lines {
    pub fn open(files: &Files, file: &TextFile, task: &Task) -> Result<Self> {
        let shown = &file.shown;
        let mapped = MappedFile { map: files.map(&file.path)?, at: 0, given_back: 0, task: task.clone() };
        let mut source: Box<dyn BufRead + Send> =
            if file.compressed { Box::new(BufReader::new(MultiGzDecoder::new(mapped))) } else { Box::new(mapped) };
        let beginning = source.fill_buf().map_err(|e| unreadable(shown, &e))?;
        // As in programs, images, archives and UTF-16.
        if beginning.iter().take(1 << 13).any(|byte| *byte == 0) {
            bail!(Format, "expected text in {shown}, found zero bytes, as in files that are not text");
        }
        // Some editors begin a file with a byte order mark.
        let mark = if beginning.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        source.consume(mark);
        let shown = shown.clone();
        Ok(Self { source, shown, passed: 0, buffer: Vec::new(), carried: Vec::new() })
    }

    /// Reads the next line with its end, or the next `limit` bytes of it; None at the end of the file. Long lines are
    /// cut between characters.
    pub fn next(&mut self, limit: usize, task: &Task) -> Result<Option<&[u8]>> {
        task.check()?;
        self.buffer.clear();
        self.buffer.append(&mut self.carried);
        let room = limit.saturating_sub(self.buffer.len()) as u64;
        let read = self.source.by_ref().take(room).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|e| unreadable(&self.shown, &e))?;
        if self.buffer.ends_with(b"\n") {
            self.passed += 1;
        } else if read as u64 == room {
            let whole = self.buffer.len() - unfinished(&self.buffer);
            self.carried = self.buffer.split_off(whole);
        }
        Ok(if self.buffer.is_empty() { None } else { Some(&self.buffer) })
    }

    /// Skips the rest of a line that was cut.
    pub fn skip_rest(&mut self, task: &Task) -> Result<()> {
        self.carried.clear();
        loop {
            task.check()?;
            let there = self.source.fill_buf().map_err(|e| unreadable(&self.shown, &e))?;
            match (there.is_empty(), there.iter().position(|byte| *byte == b'\n')) {
                (true, _) => return Ok(()),
                (false, Some(at)) => {
                    self.source.consume(at + 1);
                    self.passed += 1;
                    return Ok(());
                }
                (false, None) => {
                    let count = there.len();
                    self.source.consume(count);
                }
            }
        }
    }

    /// Returns `file:line` of the last line that `next` returned.
    pub fn place(&self) -> String {
        let line = if self.buffer.ends_with(b"\n") { self.passed } else { self.passed + 1 };
        format!("{}:{line}", self.shown)
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Counts the bytes at the end that begin an incomplete character, or an incomplete line end.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(4)..).unwrap_or(bytes);
    match tail.iter().rposition(|byte| byte & 0xC0 != 0x80) {
        Some(at) if tail[at] >= 0xC0 => {
            let wanted = tail[at].leading_ones() as usize;
            if tail.len() - at < wanted { tail.len() - at } else { 0 }
        }
        Some(at) if tail[at] == b'\r' && at + 1 == tail.len() => 1,
        _ => 0,
    }
}

fn unreadable(shown: impl std::fmt::Display, error: &io::Error) -> Error {
    if let Some(ours) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        return ours.clone();
    }
    err!(Format, "{shown} cannot be read to its end: {error}")
        .hint("it is damaged, or its extension is wrong; download it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], limit: usize) -> Vec<Vec<u8>> {
        let source = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut lines = Lines { source, shown: "x".into(), passed: 0, buffer: Vec::new(), carried: Vec::new() };
        let mut found = Vec::new();
        while let Some(line) = lines.next(limit, &Task::default()).unwrap() {
            found.push(line.to_vec());
        }
        found
    }

    #[test]
    fn long_lines_are_cut_between_characters_and_line_ends_stay_whole() {
        assert_eq!(lines(b"one\ntwo", 9), [b"one\n".to_vec(), b"two".to_vec()]);
        assert_eq!(lines("aé".repeat(3).as_bytes(), 5), ["aéa".as_bytes(), "éaé".as_bytes()]);
        assert_eq!(lines(b"abc\r\nd", 4), [b"abc".to_vec(), b"\r\n".to_vec(), b"d".to_vec()]);
        // Invalid bytes are returned, too.
        assert_eq!(lines(b"a\xF0\x9F", 8), [b"a\xF0\x9F".to_vec()]);
        assert_eq!(lines(b"\x80\x80\x80\x80\x80\x80", 4).concat().len(), 6);
    }

    #[test]
    fn the_rest_of_a_line_can_be_passed_over() {
        let source = Box::new(io::Cursor::new(b"long line\nnext".to_vec()));
        let mut lines = Lines { source, shown: "x".into(), passed: 0, buffer: Vec::new(), carried: Vec::new() };
        let task = Task::default();
        assert_eq!(lines.next(4, &task).unwrap(), Some(&b"long"[..]));
        assert_eq!(lines.place(), "x:1");
        lines.skip_rest(&task).unwrap();
        assert_eq!(lines.next(4, &task).unwrap(), Some(&b"next"[..]));
        assert_eq!(lines.place(), "x:2");
    }
}
