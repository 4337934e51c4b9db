//! Analysing runs in scripts: logit lens, direct logit attribution, patchscopes, attention patterns, comparisons of two runs and with those of other programs.

mod attention;
mod attribution;
mod both_lenses;
mod compare;
mod fitted;
pub mod fitting;
mod lens;
mod lens_page;
mod names;
mod patchscope;
mod verify;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use attribution::Attribution;
pub use both_lenses::BothLenses;
pub use compare::Comparison;
pub use fitted::FittedLens;
pub use lens::Lens;
pub use verify::Verification;

/// Lists the methods that read, and those of what they give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(attention::methods),
        exported_manifest!(attribution::methods),
        exported_manifest!(attribution::parts),
        exported_manifest!(compare::methods),
        exported_manifest!(fitted::methods),
        exported_manifest!(fitting::methods),
        exported_manifest!(both_lenses::parts),
        exported_manifest!(lens::methods),
        exported_manifest!(lens::parts),
        exported_manifest!(lens_page::methods),
        exported_manifest!(patchscope::methods),
        exported_manifest!(verify::methods),
    ]
}
