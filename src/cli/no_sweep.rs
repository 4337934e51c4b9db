//! `microtome sweep` in a build without the feature `sweep`: refused.

use super::Exit;
use super::args::{CommonArguments, SweepArguments};
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments, _sweep: &SweepArguments) -> Result<Exit> {
    Err(Error::not_built("sweeps in folders", "sweep"))
}
