//! Parquet: the strings of one column, read row group by row group.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::cut::Pieces;
use super::tally::Shared;
use super::{EMPTY, Reader, thrift};
use crate::base::budget::Budget;
use crate::base::files::Files;
use crate::base::{Error, Result, Task, memory, names};
use crate::data::Document;
use crate::err;

/// Rows read at once.
const AT_ONCE: usize = 64;

/// With larger pages, one row is read at once, since a value may be as large as its page when it is unpacked.
const LARGE: u64 = 4 << 20;

type Values = ColumnReaderImpl<ByteArrayType>;

pub struct Table {
    map: Mmap,
    file: Arc<File>,
    shown: String,
    metadata: ParquetMetaData,
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

impl Table {
    pub fn open(files: &Files, path: &Path, field: &str) -> Result<Self> {
        let shown = path.display().to_string();
        // The mapped file is hashed for the record of the run and checked; rows are read from the file itself.
        let map = files.map(path)?;
        thrift::check_footer(&map).map_err(|e| unreadable(&shown, e))?;
        let (file, _) = files.open(path)?;
        let metadata = guarded(&shown, || ParquetMetaDataReader::new().parse_and_finish(&file))?;
        let schema = metadata.file_metadata().schema_descr();
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
        let (ready, pieces) = (VecDeque::new(), Pieces::default());
        let (file, group, values) = (file.into(), 0, None);
        let at_once = AT_ONCE;
        Ok(Self { map, file, shown, metadata, column, optional, group, values, at_once, row: 0, ready, pieces })
    }

    /// Opens the column in the next row group; none after the last.
    fn next_group(&mut self) -> Result<Option<Values>> {
        if self.group >= self.metadata.num_row_groups() {
            return Ok(None);
        }
        let group = self.metadata.row_group(self.group);
        self.group += 1;
        let chunk = group.column(self.column);
        // A page is in memory compressed, decompressed and as strings, and a second one may be a dictionary.
        let page = self.largest_page(chunk).map_err(|e| unreadable(&self.shown, e))?;
        Budget::of_header().take(u128::from(page), || format!("a page of {}", self.shown))?;
        memory::check(4 * u128::from(page), || format!("a page of {}", self.shown))?;
        self.at_once = if page > LARGE { 1 } else { AT_ONCE };
        let rows = usize::try_from(group.num_rows()).map_err(|_| self.negative())?;
        let column = guarded(&self.shown, || {
            let pages = SerializedPageReader::new(self.file.clone(), chunk, rows, None)?;
            Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
        })?;
        match column {
            ColumnReader::ByteArrayColumnReader(values) => Ok(Some(values)),
            _ => Err(err!(Bug, "a column that changed its type")),
        }
    }

    /// The decompressed size of a column's largest page. The file may state places of pages beyond its end.
    fn largest_page(&self, chunk: &ColumnChunkMetaData) -> Result<u64> {
        let place = |place: i64| usize::try_from(place).ok();
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        let range = place(start).zip(place(chunk.compressed_size()));
        let pages = range.and_then(|(start, length)| self.map.get(start..start.checked_add(length)?));
        let largest = thrift::largest_page(pages.ok_or_else(|| err!(Format, "a column lies beyond its end"))?);
        memory::give_back(&self.map, 0..self.map.len());
        largest
    }

    fn negative(&self) -> Error {
        err!(Format, "{} states a negative size in row group {}", self.shown, self.group - 1)
    }

    /// Reads more rows; returns whether there were any.
    fn read(&mut self, tally: &Shared) -> Result<bool> {
        loop {
            if self.values.is_none() {
                self.values = self.next_group()?;
            }
            let Some(values) = &mut self.values else { return Ok(false) };
            let (mut levels, mut found) = (Vec::new(), Vec::new());
            let asked = self.optional.then_some(&mut levels);
            let read = || values.read_records(self.at_once, asked, None, &mut found);
            let (rows, ..) = guarded(&self.shown, read)?;
            if rows == 0 {
                self.values = None;
                continue;
            }
            self.place(rows, &levels, found, tally);
            return Ok(true);
        }
    }

    /// Assigns values to rows, some of which have none.
    fn place(&mut self, rows: usize, levels: &[i16], found: Vec<ByteArray>, tally: &Shared) {
        let highest = self.metadata.file_metadata().schema_descr().column(self.column).max_def_level();
        let mut found = found.into_iter();
        for at in 0..rows {
            let row = self.row;
            self.row += 1;
            match levels.get(at).is_none_or(|level| *level == highest).then(|| found.next()).flatten() {
                Some(value) => self.ready.push_back((row, value)),
                None => tally.with(|tally| tally.skip("rows without a value", || place(&self.shown, row))),
            }
        }
    }
}

fn place(shown: &str, row: u64) -> String {
    format!("{shown}:row {row}")
}

/// Turns the crate's error for a damaged file into ours. For some it panics, which is harmless here, since the reader
/// is not used again.
fn guarded<T>(shown: &str, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    let broken = |why: String| unreadable(shown, err!(Format, "{why}"));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| broken(e.to_string())),
        Err(said) => {
            let said = said.downcast_ref::<String>().cloned().or(said.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(broken(said.unwrap_or_else(|| "it is damaged".into())))
        }
    }
}

fn unreadable(shown: &str, error: Error) -> Error {
    error.within(format!("{shown} cannot be read as Parquet"))
}

/// The text of a value, or the reason why there is none.
fn text(value: &ByteArray) -> Result<String, &'static str> {
    let text = std::str::from_utf8(value.data()).map_err(|_| "rows of invalid UTF-8")?;
    if text.trim().is_empty() { Err(EMPTY) } else { Ok(text.into()) }
}

impl Reader for Table {
    fn next(&mut self, tally: &Shared, task: &Task) -> Result<Option<Document>> {
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
            let origin = place(&self.shown, row);
            match text(&value) {
                Ok(text) => self.pieces = Pieces::of(text, origin.into()),
                Err(reason) => tally.with(|tally| tally.skip(reason, || origin)),
            }
        }
    }
}
