//! Options of scripts that choose the positions of a text.

use crate::data::harvest::{HarvestOptions, PositionOptions, SkipOptions};
use crate::model::Model;
use crate::script::engine::options::OptionReader;
use crate::script::prelude::*;

/// Reads the options that choose positions of a text.
pub fn keeping(read: &mut OptionReader) -> Result<HarvestOptions> {
    Ok(read.declared::<PositionOptions>()?.into())
}

/// Reads the options that choose positions of a text, with the tokens and the labels that are skipped.
pub fn choosing(read: &mut OptionReader, model: &Model, text: &Text, task: &Task) -> Result<HarvestOptions> {
    read.declared::<SkipOptions>()?.resolved(model, text, task)
}

/// Returns whether an option was given that only goes with a text.
pub fn of_text_only(read: &mut OptionReader) -> Result<bool> {
    Ok(read.declared::<SkipOptions>()? != SkipOptions::default())
}

/// Refuses options of a text where there is none.
pub fn no_text_options(are_given: bool) -> Result<()> {
    if are_given {
        Err(err!(Argument, "expected no options of a text where activations are given").about("options"))
    } else {
        Ok(())
    }
}
