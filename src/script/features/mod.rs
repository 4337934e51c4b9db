//! `features::` and the methods of features, one file for what is looked at.

mod feature;

pub use feature::Feature;

use rhai::exported_manifest;
use rhai::plugin::*;

/// What is called through the module: `features::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![]
}

/// The methods of features.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(feature::methods)]
}
