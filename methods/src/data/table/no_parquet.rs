//! Tables of Parquet in a build without the feature `parquet`: refused.

use crate::common::*;

pub fn written(_table: &Table) -> Result<Vec<u8>> {
    Err(Error::not_built("writer of Parquet", "parquet"))
}

pub fn read(_files: &Files, path: &Path, _task: &Task) -> Result<Table> {
    Err(Error::not_built("reader of Parquet", "parquet").within(path.display()))
}
