//! `sae::` and the methods of dictionaries, one file for what is done with them.

mod baselines;
mod dictionary;
mod encode;
mod fit;
mod measure;
mod rows;

pub use dictionary::Sae;

use rhai::exported_manifest;
use rhai::plugin::*;

/// What is called through the module: `sae::load("folder")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(baselines::functions),
        exported_manifest!(dictionary::functions),
        exported_manifest!(fit::functions),
        exported_manifest!(measure::functions),
    ]
}

/// The methods of what these give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(dictionary::methods),
        exported_manifest!(encode::methods),
        exported_manifest!(fit::methods),
        exported_manifest!(measure::methods),
    ]
}
