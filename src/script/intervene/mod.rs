//! `metric::`: what interventions are judged by.

pub mod metric;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use metric::Metric;

use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[Group] = &[
    ("metric", fields::<metric::MetricOptions>),
    ("metric_kl", fields::<metric::KlOptions>),
    ("metric_values", fields::<metric::ValuesOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Metric>()];

/// The methods of metrics.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(metric::methods)]
}
