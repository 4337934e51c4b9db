//! `microtome kernel` in a build without the feature `jupyter`: refused.

use super::Exit;
use super::args::{CommonArguments, KernelArguments};
use crate::base::{Error, Result};

pub fn run(_options: &CommonArguments, _kernel: &KernelArguments) -> Result<Exit> {
    Err(Error::not_built("kernel of Jupyter", "jupyter"))
}
