//! `intervene::` and the methods of its results, one file for each.

mod erase;
mod monitor;

use rhai::exported_manifest;
use rhai::plugin::*;

pub use erase::Eraser;
pub use monitor::Monitor;

use crate::intervene::monitor::{MonitorFitOptions, MonitorJudgeOptions, MonitorRunOptions};
use crate::script::docs::declared::{Group, fields};
use crate::script::engine::handle::{HandleType, handle_type};
use erase::{EraseCall, ErasureCall};
use monitor::{MonitorOptions, WatchOptions};

/// The groups of options that documentation here names.
pub const OPTIONS: &[Group] = &[
    ("erase", fields::<EraseCall>),
    ("erasure", fields::<ErasureCall>),
    ("monitor", fields::<MonitorOptions>),
    ("monitor_fit", fields::<MonitorFitOptions>),
    ("monitor_judge", fields::<MonitorJudgeOptions>),
    ("monitor_run", fields::<MonitorRunOptions>),
    ("monitor_watch", fields::<WatchOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[handle_type::<Eraser>(), handle_type::<Monitor>()];

/// What is called through the module: `intervene::`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::functions), exported_manifest!(monitor::functions)]
}

/// The methods of its results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(erase::methods), exported_manifest!(monitor::methods)]
}
