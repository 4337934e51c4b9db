//! Texts of Parquet in a build without the feature `parquet`: refused.

use std::convert::Infallible;

use super::DocumentReader;
use super::find::TextFile;
use super::tally::SharedTally;
use crate::base::files::Files;
use crate::base::{Error, Result, Task};
use crate::data::Document;

/// A reader of Parquet, of which there is none.
pub struct ParquetColumn(Infallible);

impl ParquetColumn {
    pub fn open(_files: &Files, file: &TextFile, _field: &str) -> Result<Self> {
        Err(Error::not_built("reader of Parquet", "parquet").within(&file.shown))
    }
}

impl DocumentReader for ParquetColumn {
    fn next(&mut self, _tally: &SharedTally, _task: &Task) -> Result<Option<Document>> {
        match self.0 {}
    }
}
