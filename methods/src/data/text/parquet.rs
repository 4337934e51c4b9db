//! Parquet: the strings of one column, read row group by row group.

use std::collections::VecDeque;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};

use super::cut::Pieces;
use super::find::TextFile;
use super::tally::SharedTally;
use super::{DocumentReader, EMPTY, NO_VALUE};
use crate::common::*;
use crate::data::Document;
use crate::data::parquet::Parquet;

type Values = ColumnReaderImpl<ByteArrayType>;

pub struct ParquetColumn {
    file: Parquet,
    column: usize,
    /// Whether a row may have no value.
    optional: bool,
    group: usize,
    values: Option<Values>,
    /// Rows of the group that are read at once.
    at_once: usize,
    row: u64,
    ready: VecDeque<(u64, ByteArray)>,
    pieces: Pieces,
}

impl ParquetColumn {
    pub fn open(files: &Files, file: &TextFile, field: &str) -> Result<Self> {
        let file = Parquet::open(files, &file.path, &file.shown)?;
        let shown = file.shown();
        let schema = file.metadata().file_metadata().schema_descr();
        let paths: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let column = paths.iter().position(|name| name == field).ok_or_else(|| {
            err!(Name, "{shown} has no column `{field}`")
                .maybe_hint(names::suggestion(field, paths.iter().map(String::as_str)))
        })?;
        let about = schema.column(column);
        if about.physical_type() != Type::BYTE_ARRAY || about.max_rep_level() > 0 {
            let found = if about.max_rep_level() > 0 { "lists".into() } else { about.physical_type().to_string() };
            return Err(err!(Format, "expected strings in the column `{field}` of {shown}, found {found}"));
        }
        let optional = about.max_def_level() > 0;
        let ready = VecDeque::new();
        let pieces = Pieces::default();
        Ok(Self { file, column, optional, group: 0, values: None, at_once: 1, row: 0, ready, pieces })
    }

    /// Opens the column in the next row group; none after the last.
    fn next_group(&mut self) -> Result<Option<Values>> {
        if self.group >= self.file.metadata().num_row_groups() {
            return Ok(None);
        }
        let (column, at_once) = self.file.column(self.group, self.column)?;
        self.group += 1;
        self.at_once = at_once;
        match column {
            ColumnReader::ByteArrayColumnReader(values) => Ok(Some(values)),
            _ => Err(err!(Bug, "a column that changed its type")),
        }
    }

    /// Reads more rows; returns whether there were any.
    fn read(&mut self, tally: &SharedTally) -> Result<bool> {
        loop {
            if self.values.is_none() {
                self.values = self.next_group()?;
            }
            let Some(values) = &mut self.values else { return Ok(false) };
            let mut levels = Vec::new();
            let mut found = Vec::new();
            let asked = self.optional.then_some(&mut levels);
            let read = || values.read_records(self.at_once, asked, None, &mut found);
            let (rows, ..) = self.file.guarded(read)?;
            if rows == 0 {
                self.values = None;
                continue;
            }
            self.place(rows, &levels, found, tally);
            return Ok(true);
        }
    }

    /// Assigns values to rows, some of which have none.
    fn place(&mut self, rows: usize, levels: &[i16], found: Vec<ByteArray>, tally: &SharedTally) {
        let highest = self.file.metadata().file_metadata().schema_descr().column(self.column).max_def_level();
        let mut found = found.into_iter();
        for at in 0..rows {
            let row = self.row;
            self.row += 1;
            match levels.get(at).is_none_or(|level| *level == highest).then(|| found.next()).flatten() {
                Some(value) => self.ready.push_back((row, value)),
                None => tally.with(|tally| tally.skip(NO_VALUE, || place(self.file.shown(), row))),
            }
        }
    }
}

fn place(shown: &str, row: u64) -> String {
    format!("{shown}:row {row}")
}

/// Returns the text of a value, or the reason why there is none.
fn text(value: &ByteArray) -> Result<String, &'static str> {
    let text = std::str::from_utf8(value.data()).map_err(|_| "rows of invalid UTF-8")?;
    if text.trim().is_empty() { Err(EMPTY) } else { Ok(text.into()) }
}

impl DocumentReader for ParquetColumn {
    fn next(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Document>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Ok(Some(piece));
            }
            let Some((row, value)) = self.ready.pop_front() else {
                task.check()?;
                if !self.read(tally)? {
                    return Ok(None);
                }
                continue;
            };
            let origin = place(self.file.shown(), row);
            match text(&value) {
                Ok(text) => self.pieces = Pieces::of(text, origin.into()),
                Err(reason) => tally.with(|tally| tally.skip(reason, || origin)),
            }
        }
    }
}
