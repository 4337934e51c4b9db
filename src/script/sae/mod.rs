//! `sae::` and the methods of dictionaries, one file for what is done with them.

mod asked;
mod baselines;
mod dictionary;
mod encode;
mod finetune;
mod fit;
mod history;
mod judged;
mod kept;
mod measure;
mod measures;
mod pareto;
mod rows;
mod sites;
mod stored;
mod sweep;
mod transcode;

pub use dictionary::Sae;
pub use measure::site_of;
pub use rows::{choosing, keeping};

use crate::sae::fit::FitOptions;
use crate::script::docs::declared::{Group, fields, of_kinds};
use crate::training::CheckpointOptions;
use rhai::exported_manifest;
use rhai::plugin::*;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] =
    &[("fit", fields::<FitOptions>), ("kinds", of_kinds), ("keep", fields::<CheckpointOptions>)];

/// What is called through the module: `sae::load("folder")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(baselines::functions),
        exported_manifest!(dictionary::functions),
        exported_manifest!(fit::functions),
        exported_manifest!(measure::functions),
        exported_manifest!(pareto::functions),
        exported_manifest!(sweep::functions),
        exported_manifest!(transcode::functions),
    ]
}

/// The methods of what these give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(dictionary::methods),
        exported_manifest!(encode::methods),
        exported_manifest!(finetune::methods),
        exported_manifest!(history::methods),
        exported_manifest!(measure::methods),
        exported_manifest!(measures::methods),
        exported_manifest!(pareto::methods),
        exported_manifest!(stored::methods),
        exported_manifest!(sweep::methods),
        exported_manifest!(transcode::methods),
    ]
}
