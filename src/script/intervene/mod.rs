//! `intervene::`, `metric::` and `subspace::`: interventions on a model, what they give back, and what they are judged by.

mod erase;
mod grid;
pub mod metric;
mod monitor;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use erase::Eraser;
pub use metric::Metric;
pub use monitor::Monitor;

use crate::intervene::monitor::{MonitorFitOptions, MonitorJudgeOptions, MonitorRunOptions};
use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use erase::{EraseCall, ErasureCall};
use monitor::{MonitorOptions, WatchOptions};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[Group] = &[
    ("erase", fields::<EraseCall>),
    ("erasure", fields::<ErasureCall>),
    ("grid", fields::<grid::GridCall>),
    ("metric", fields::<metric::MetricOptions>),
    ("metric_kl", fields::<metric::KlOptions>),
    ("metric_values", fields::<metric::ValuesOptions>),
    ("monitor", fields::<MonitorOptions>),
    ("monitor_fit", fields::<MonitorFitOptions>),
    ("monitor_judge", fields::<MonitorJudgeOptions>),
    ("monitor_run", fields::<MonitorRunOptions>),
    ("monitor_watch", fields::<WatchOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Eraser>(), handle_type::<Metric>(), handle_type::<Monitor>()];

/// What is called through the module: `intervene::grid(m, pairs)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(erase::functions),
        exported_manifest!(grid::functions),
        exported_manifest!(monitor::functions),
    ]
}

/// The methods of its results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::methods), exported_manifest!(metric::methods), exported_manifest!(monitor::methods)]
}
