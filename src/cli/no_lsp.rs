//! `microtome lsp` in a build without the feature `lsp`: refused.

use super::Exit;
use super::args::CommonArguments;
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments) -> Result<Exit> {
    Err(Error::not_built("server of the Language Server Protocol", "lsp"))
}
