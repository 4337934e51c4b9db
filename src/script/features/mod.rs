//! `features::` and the methods of features, one file for what is looked at.

mod card;
mod contexts;
mod counts;
mod effects;
mod feature;
mod known;

pub use contexts::Contexts;
pub use feature::Feature;
pub use known::Known;

use rhai::exported_manifest;
use rhai::plugin::*;

/// What is called through the module: `features::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(card::functions),
        exported_manifest!(contexts::functions),
        exported_manifest!(counts::functions),
        exported_manifest!(effects::functions),
    ]
}

/// The methods of features.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(card::methods), exported_manifest!(contexts::methods), exported_manifest!(feature::methods)]
}
