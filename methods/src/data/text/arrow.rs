//! Arrow: the strings of one column, read batch by batch, as the library `datasets` keeps them on disk.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::cut::Pieces;
use super::find::TextFile;
use super::tally::SharedTally;
use super::{DocumentReader, EMPTY, NO_VALUE};
use crate::common::*;
use crate::data::Document;
use crate::data::arrow::Arrow;

pub struct ArrowColumn {
    file: Arrow,
    /// The values of the batch that is read.
    values: Option<ArrayRef>,
    /// The index within the batch of the value to read next.
    next: usize,
    /// The number of rows of the batches before.
    before: u64,
    pieces: Pieces,
}

impl ArrowColumn {
    pub fn open(files: &Files, file: &TextFile, field: &str) -> Result<Self> {
        let file = Arrow::open(files, &file.path, &file.shown)?;
        let shown = file.shown();
        let names: Vec<&str> = file.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let column = names.iter().position(|name| *name == field).ok_or_else(|| {
            err!(Name, "{shown} has no column `{field}`").maybe_hint(names::suggestion(field, names.iter().copied()))
        })?;
        match file.schema().field(column).data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
            other => return Err(err!(Format, "expected strings in the column `{field}` of {shown}, found {other}")),
        }
        Ok(Self { file: file.column(column), values: None, next: 0, before: 0, pieces: Pieces::default() })
    }

    /// Reads the next batch; returns whether there was one.
    fn read(&mut self) -> Result<bool> {
        self.before += self.values.take().map_or(0, |values| values.len() as u64);
        self.next = 0;
        self.values = self.file.next()?.map(|batch| batch.column(0).clone());
        Ok(self.values.is_some())
    }
}

/// Returns the string of a row; none where it has no value.
fn text(values: &dyn Array, row: usize) -> Option<&str> {
    values.is_valid(row).then(|| match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value(row),
        DataType::LargeUtf8 => values.as_string::<i64>().value(row),
        _ => values.as_string_view().value(row),
    })
}

impl DocumentReader for ArrowColumn {
    fn next(&mut self, tally: &SharedTally, task: &Task) -> Result<Option<Document>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Ok(Some(piece));
            }
            let Some(values) = self.values.as_ref().filter(|values| self.next < values.len()) else {
                task.check()?;
                if !self.read()? {
                    return Ok(None);
                }
                continue;
            };
            let row = self.next;
            self.next += 1;
            let origin = || format!("{}:row {}", self.file.shown(), self.before + row as u64);
            match text(values, row) {
                None => tally.with(|tally| tally.skip(NO_VALUE, origin)),
                Some(text) if text.trim().is_empty() => tally.with(|tally| tally.skip(EMPTY, origin)),
                Some(text) => self.pieces = Pieces::of(text.into(), origin().into()),
            }
        }
    }
}
