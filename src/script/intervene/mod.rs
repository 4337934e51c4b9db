//! `intervene::` and the methods of its results, one file for each.

mod erase;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use erase::Eraser;

use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use erase::{EraseCall, ErasureCall};

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[("erase", fields::<EraseCall>), ("erasure", fields::<ErasureCall>)];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Eraser>()];

/// What is called through the module: `intervene::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::functions)]
}

/// The methods of its results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::methods)]
}
