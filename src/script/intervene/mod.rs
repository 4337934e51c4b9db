//! `intervene::` and `metric::`: interventions on pairs of prompts, and what they are judged by.

mod grid;
pub mod metric;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use metric::Metric;

use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[Group] = &[
    ("grid", fields::<grid::GridCall>),
    ("metric", fields::<metric::MetricOptions>),
    ("metric_kl", fields::<metric::KlOptions>),
    ("metric_values", fields::<metric::ValuesOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Metric>()];

/// What is called through the module: `intervene::grid(m, pairs)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(grid::functions)]
}

/// The methods of metrics.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(metric::methods)]
}
