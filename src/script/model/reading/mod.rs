//! Reading a run in scripts: the logit lens, who wrote a logit, what heads look at, and two runs side by side.

mod attention;
mod attribution;
mod compare;
mod lens;
mod names;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use attribution::Attribution;
pub use compare::Comparison;
pub use lens::Lens;

use super::Input;
use crate::base::Result;
use crate::err;

/// The methods that read, and those of what they give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(attention::methods),
        exported_manifest!(attribution::methods),
        exported_manifest!(attribution::parts),
        exported_manifest!(compare::methods),
        exported_manifest!(lens::methods),
        exported_manifest!(lens::parts),
    ]
}

/// The ids of the one text that a call is about.
fn one_text(input: &Input) -> Result<&[u32]> {
    match input.batch.rows() {
        [ids] => Ok(ids),
        rows => Err(err!(Argument, "expected one text to read, found {}", rows.len()).about("x")),
    }
}
