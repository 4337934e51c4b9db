//! `model::` and the methods of models, one file for each thing that a model is asked for.

mod cache;
mod generate;
mod grads;
pub mod input;
mod load;
mod look;
pub mod predict;
mod reading;
mod run;
mod tokens;
mod train;
mod wanted;

#[cfg(test)]
mod tests;

use rhai::exported_manifest;
use rhai::plugin::*;

use super::handle::{HandleType, handle_type, large};
use crate::model::tokens::Tokens;

pub use cache::Cache;
pub use load::Model;
pub use reading::{Attribution, Comparison, Lens};
pub use run::Run;

use crate::script::docs::declared::Group;
use input::{Asked, Input};
use wanted::Wanted;

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    large::<Attribution>(),
    handle_type::<Cache>(),
    large::<Comparison>(),
    large::<Lens>(),
    handle_type::<Model>(),
    handle_type::<Run>(),
    large::<Tokens>(),
];

/// What is called through the module: `model::load("tiny")`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(load::functions), exported_manifest!(train::functions)]
}

/// The methods of models, and of what they give back.
pub fn globals() -> Vec<&'static ModuleManifest> {
    let own = vec![
        exported_manifest!(cache::methods),
        exported_manifest!(generate::methods),
        exported_manifest!(grads::methods),
        exported_manifest!(load::methods),
        exported_manifest!(look::methods),
        exported_manifest!(predict::methods),
        exported_manifest!(run::methods),
        exported_manifest!(run::losses),
        exported_manifest!(run::parts),
        exported_manifest!(tokens::methods),
        exported_manifest!(tokens::parts),
        exported_manifest!(train::methods),
    ];
    [own, reading::globals()].concat()
}
