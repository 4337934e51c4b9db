//! `microtome mcp` in a build without the feature `mcp`: refused.

use super::Exit;
use super::args::{CommonArguments, McpArguments};
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments, _mcp: &McpArguments) -> Result<Exit> {
    Err(Error::not_built("server of the Model Context Protocol", "mcp"))
}
