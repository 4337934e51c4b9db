//! `optim::` and the gradients of `tensor::`: derivatives of any function of a script, and descent along them.

mod descent;
mod gradient;
mod parameters;

use rhai::plugin::ModuleManifest;

pub use descent::Descent;

use crate::script::prelude::*;
use crate::training::descent::{AdamOptions, AdamWOptions, SgdOptions};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[NamedOptions] =
    &[("adam", fields::<AdamOptions>), ("adamw", fields::<AdamWOptions>), ("sgd", fields::<SgdOptions>)];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Descent>()];

/// Lists functions that are called through the module: `optim::adamw(params)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(descent::functions)]
}

/// Lists functions that are called through `tensor::` and call functions of the script.
pub fn gradients() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(gradient::functions)]
}

/// Lists the methods of descents.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(descent::methods)]
}
