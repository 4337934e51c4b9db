//! `intervene::`, `metric::` and `subspace::`: interventions on a model, what they give back, and what they are judged by.

mod erase;
mod feature_patch;
mod grid;
mod interactions;
pub mod metric;
mod monitor;
mod pairs;
mod paths;
mod sentences;
mod steer;
pub mod subspace;
mod traits;

pub use erase::Eraser;
pub use interactions::Interactions;
pub use metric::Metric;
pub use monitor::Monitor;
pub use sentences::Sentences;
pub(in crate::script) use steer::rows;
pub use subspace::Subspace;

use crate::intervene::feature_patch::FeaturePatchOptions;
use crate::intervene::monitor::{CalibrationOptions, MonitorFitOptions, MonitorJudgeOptions, MonitorRunOptions};
use crate::intervene::sentences::{ReceiverOptions, SentenceOptions};
use crate::intervene::steer::{PinnedOptions, SteerOptions, VectorOptions};
use crate::intervene::subspace::DasOptions;
use crate::script::prelude::*;
use erase::{EraseCall, ErasureCall};
use monitor::{MonitorOptions, WatchOptions};
use steer::{EffectOptions, GraderOptions, NeutralText, PinnedText};

/// The groups of options that doc comments here name.
pub const OPTIONS: &[NamedOptions] = &[
    ("anchors", fields::<sentences::AnchorCall>),
    ("das", fields::<DasOptions>),
    ("erase", fields::<EraseCall>),
    ("erasure", fields::<ErasureCall>),
    ("feature_patch", fields::<FeaturePatchOptions>),
    ("patching_grid", fields::<grid::GridCall>),
    ("grader", fields::<GraderOptions>),
    ("interactions", fields::<interactions::InteractionCall>),
    ("metric", fields::<metric::MetricOptions>),
    ("metric_kl", fields::<metric::KlOptions>),
    ("metric_values", fields::<metric::ValuesOptions>),
    ("monitor", fields::<MonitorOptions>),
    ("monitor_calibrate", fields::<CalibrationOptions>),
    ("monitor_fit", fields::<MonitorFitOptions>),
    ("monitor_judge", fields::<MonitorJudgeOptions>),
    ("monitor_run", fields::<MonitorRunOptions>),
    ("monitor_watch", fields::<WatchOptions>),
    ("neutral_text", fields::<NeutralText>),
    ("paths", fields::<paths::PathCall>),
    ("pinned", fields::<PinnedOptions>),
    ("pinned_text", fields::<PinnedText>),
    ("receiver_heads", fields::<ReceiverOptions>),
    ("sentences", fields::<SentenceOptions>),
    ("steer", fields::<SteerOptions>),
    ("steer_effect", fields::<EffectOptions>),
    ("steering_vector", fields::<VectorOptions>),
];

/// The types that scripts hold.
pub const HANDLES: &[HandleType] = &[
    handle_type::<Eraser>(),
    handle_type::<Interactions>(),
    handle_type::<Metric>(),
    handle_type::<Monitor>(),
    handle_type::<Sentences>(),
    handle_type::<Subspace>(),
];

/// Lists functions that are called through the module: `intervene::grid(m, pairs)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(erase::functions),
        exported_manifest!(feature_patch::functions),
        exported_manifest!(grid::functions),
        exported_manifest!(interactions::functions),
        exported_manifest!(monitor::functions),
        exported_manifest!(paths::functions),
        exported_manifest!(sentences::functions),
        exported_manifest!(steer::functions),
        exported_manifest!(traits::functions),
    ]
}

/// Lists the methods of results.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![
        exported_manifest!(erase::methods),
        exported_manifest!(interactions::methods),
        exported_manifest!(metric::methods),
        exported_manifest!(monitor::methods),
        exported_manifest!(sentences::methods),
        exported_manifest!(subspace::methods),
    ]
}
