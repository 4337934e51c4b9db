//! `intervene::` and the methods of its results; `metric::`, what interventions are judged by.

mod erase;
pub mod metric;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use erase::Eraser;
pub use metric::Metric;

use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use erase::{EraseCall, ErasureCall};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[Group] = &[
    ("erase", fields::<EraseCall>),
    ("erasure", fields::<ErasureCall>),
    ("metric", fields::<metric::MetricOptions>),
    ("metric_kl", fields::<metric::KlOptions>),
    ("metric_values", fields::<metric::ValuesOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Eraser>(), handle_type::<Metric>()];

/// What is called through the module: `intervene::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::functions)]
}

/// The methods of erasers and metrics.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::methods), exported_manifest!(metric::methods)]
}
