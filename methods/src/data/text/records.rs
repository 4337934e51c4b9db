//! Lines of JSON or of tab-separated values, one document each: the string in one field.

use super::cut::Pieces;
use super::find::TextFile;
use super::lines::Lines;
use super::tally::SharedTally;
use super::{DocumentReader, EMPTY};
use crate::base::json;
use crate::common::*;
use crate::data::Document;

/// Length, in bytes, of the longest line that is not skipped.
const LONGEST: usize = 16 << 20;

/// The format of a line.
enum Form {
    Json,
    /// Values between tabs, without quoting; the first line has the names of the columns.
    Tabs(Vec<String>),
}

pub struct Records {
    lines: Lines,
    form: Form,
    field: String,
    pieces: Pieces,
}

impl Records {
    pub fn of_json(files: &Files, file: &TextFile, field: &str, task: &Task) -> Result<Self> {
        let lines = Lines::open(files, file, task)?;
        Ok(Self { lines, form: Form::Json, field: field.into(), pieces: Pieces::default() })
    }

    pub fn of_tabs(files: &Files, file: &TextFile, field: &str, task: &Task) -> Result<Self> {
        let mut lines = Lines::open(files, file, task)?;
        let names = lines.next(LONGEST, task)?.unwrap_or_default().to_vec();
        let names =
            String::from_utf8_lossy(&names).trim_end_matches(['\n', '\r']).split('\t').map(String::from).collect();
        Ok(Self { lines, form: Form::Tabs(names), field: field.into(), pieces: Pieces::default() })
    }

    /// Reads the document of the next line that is not skipped; None at the end.
    fn read(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Option<String>>> {
        let Some(line) = self.lines.next(LONGEST, task)? else { return Ok(None) };
        if line.len() >= LONGEST - 4 && !line.ends_with(b"\n") {
            tally.with(|tally| tally.skip("lines of more than 16 MiB", || self.lines.place()));
            self.lines.skip_rest(task)?;
            return Ok(Some(None));
        }
        if line.trim_ascii().is_empty() {
            return Ok(Some(None));
        }
        let found = match &self.form {
            Form::Json => text(line, &self.field, tally),
            Form::Tabs(names) => value(line, names, &self.field, tally),
        };
        Ok(Some(found.map_err(|reason| tally.with(|tally| tally.skip(reason, || self.lines.place()))).ok()))
    }
}

/// Returns the string in the field, or the reason why there is none.
fn text(line: &[u8], field: &str, tally: &SharedTally) -> Result<String, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "lines of invalid UTF-8")?;
    let mut reason = "lines that do not fit into memory";
    let read = json::read(line.as_bytes(), |e| {
        reason = "lines that are no JSON";
        err!(Format, "{e}")
    });
    let mut record = match read.map_err(|_| reason)? {
        Value::Object(record) => record,
        _ => return Err("lines that are not a JSON object"),
    };
    match record.get_mut(field) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(EMPTY),
        Some(Value::String(text)) => Ok(std::mem::take(text)),
        Some(_) => Err("lines whose field is not a string"),
        None => {
            tally.with(|tally| {
                if tally.fields.is_empty() {
                    tally.fields = record.keys().cloned().collect();
                }
            });
            Err("lines without the field")
        }
    }
}

/// Returns the value in the column, or the reason why there is none.
fn value(line: &[u8], names: &[String], field: &str, tally: &SharedTally) -> Result<String, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "lines of invalid UTF-8")?.trim_end_matches(['\n', '\r']);
    let Some(column) = names.iter().position(|name| name == field) else {
        tally.with(|tally| tally.fields = names.to_vec());
        return Err("lines without the field");
    };
    match line.split('\t').nth(column) {
        Some(text) if text.trim().is_empty() => Err(EMPTY),
        Some(text) => Ok(text.into()),
        None => Err("lines with fewer values than columns"),
    }
}

impl DocumentReader for Records {
    fn next(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Document>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Ok(Some(piece));
            }
            task.check()?;
            match self.read(tally, task)? {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(text)) => self.pieces = Pieces::of(text, self.lines.place().into()),
            }
        }
    }
}
