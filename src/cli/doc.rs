//! `microtome doc [NAME]`: the reference in the terminal, as a page, and as definition files.

use super::Exit;
use super::args::{Doc, Options};
use crate::base::Result;

pub fn run(_options: &Options, _doc: &Doc) -> Result<Exit> {
    Ok(Exit::Done)
}
