//! `microtome explore` in a build without the feature `explorer`: refused.

use super::Exit;
use super::args::{CommonArguments, ExploreArguments};
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments, _explore: &ExploreArguments) -> Result<Exit> {
    Err(Error::not_built("explorer", "explorer"))
}
