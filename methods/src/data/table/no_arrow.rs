//! Tables of Arrow in a build without the feature `arrow`: refused.

use crate::common::*;

pub fn file(_table: &Table, _ending: &str) -> Result<Vec<u8>> {
    Err(Error::not_built("writer of Arrow", "arrow"))
}

pub fn stream(_table: &Table) -> Result<Vec<u8>> {
    Err(Error::not_built("writer of Arrow", "arrow"))
}

pub fn read(_files: &Files, path: &Path, _task: &Task) -> Result<Table> {
    Err(Error::not_built("reader of Arrow", "arrow").within(path.display()))
}
