//! `microtome serve` in a build without the feature `explorer`: refused.

use super::Exit;
use super::args::{CommonArguments, ServeArguments};
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments, _serve: &ServeArguments) -> Result<Exit> {
    Err(Error::not_built("server", "explorer"))
}
