//! Files of Parquet: opened, and their columns read, with limits on the memory that a file may claim.

mod footer;

use std::fs::File;

use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::base::budget::Budget;
use crate::base::disk::Mapping;
use crate::base::error::guarded;
use crate::common::*;

/// The number of values of a column that are read at once.
const AT_ONCE: usize = 64;

/// The size of pages above which one value is read at once, since it may be as large as its page when it is unpacked.
const LARGE: u64 = 4 << 20;

/// An open file of Parquet.
pub struct Parquet {
    map: Mapping,
    file: Arc<File>,
    /// The name of the file in errors.
    shown: String,
    metadata: ParquetMetaData,
}

impl Parquet {
    /// Opens the file at a path, which errors name as `shown`.
    pub fn open(files: &Files, path: &Path, shown: &str) -> Result<Self> {
        // The mapped file is hashed for the record of the run and checked; rows are read from the file itself.
        let checked = |map: Mapping| footer::check_footer(&map).map(|()| map).map_err(|e| unreadable(shown, e));
        let map = files.map_as(path, checked)?;
        let (file, _) = files.open(path)?;
        let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&file));
        let metadata = metadata.map_err(|e| unreadable(shown, e))?;
        Ok(Self { map, file: file.into(), shown: shown.into(), metadata })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Opens a column in one of the row groups, and returns it with the number of its values to read at once.
    pub fn column(&self, group: usize, column: usize) -> Result<(ColumnReader, usize)> {
        let about = self.metadata.row_group(group);
        let chunk = about.column(column);
        // A page is in memory compressed, decompressed and as values, and a second one may be a dictionary.
        let page = self.largest_page(chunk).map_err(|e| unreadable(&self.shown, e))?;
        Budget::of_header().take(u128::from(page), || format!("a page of {}", self.shown))?;
        memory::check(4 * u128::from(page), || format!("a page of {}", self.shown))?;
        let rows = usize::try_from(about.num_rows())
            .map_err(|_| err!(Format, "{} states a negative size in row group {group}", self.shown))?;
        let reader = self.guarded(|| {
            let pages = SerializedPageReader::new(self.file.clone(), chunk, rows, None)?;
            Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
        })?;
        Ok((reader, if page > LARGE { 1 } else { AT_ONCE }))
    }

    /// Returns the decompressed size of a column's largest page. The file may state places of pages beyond its end.
    fn largest_page(&self, chunk: &ColumnChunkMetaData) -> Result<u64> {
        let place = |place: i64| usize::try_from(place).ok();
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        let range = place(start).zip(place(chunk.compressed_size()));
        let pages = range.and_then(|(start, length)| self.map.get(start..start.checked_add(length)?));
        let largest = footer::largest_page(pages.ok_or_else(|| err!(Format, "a column lies beyond its end"))?);
        memory::give_back(&self.map, 0..self.map.len());
        largest
    }

    /// Turns the crate's error for a damaged file into ours.
    pub fn guarded<T>(&self, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
        guarded(read).map_err(|e| self.unreadable(e))
    }

    /// Adds the name of the file to an error.
    pub fn unreadable(&self, error: Error) -> Error {
        unreadable(&self.shown, error)
    }
}

fn unreadable(shown: &str, error: Error) -> Error {
    error.within(format!("{shown} cannot be read as Parquet"))
}
