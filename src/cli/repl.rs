//! `microtome` without a command: the interactive prompt.

use super::Exit;
use super::args::Options;
use crate::base::Result;

pub fn run(_options: &Options) -> Result<Exit> {
    Ok(Exit::Done)
}
