//! `microtome sweep` in a build without the feature `sweep`: refused.

use super::Exit;
use super::args::{Options, Sweep};
use crate::base::{Error, Result};

pub fn run(_options: &Options, _sweep: &Sweep) -> Result<Exit> {
    Err(Error::not_built("sweeps in folders", "sweep"))
}
