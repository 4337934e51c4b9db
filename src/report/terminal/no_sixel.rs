//! Sixels in a build without the feature `sixel`: refused. Terminals that show no other pictures get blocks and
//! braille.

use crate::base::{Error, Result};
use crate::report::draw::canvas::Drawing;

pub fn sixel(_drawing: &Drawing) -> Result<String> {
    Err(Error::not_built("encoder of sixels", "sixel"))
}
