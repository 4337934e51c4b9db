//! `microtome explore` in a build without the feature `explorer`: refused.

use super::Exit;
use super::args::{Explore, Options};
use crate::base::{Error, Result};

pub fn run(_options: &Options, _explore: &Explore) -> Result<Exit> {
    Err(Error::not_built("explorer", "explorer"))
}
