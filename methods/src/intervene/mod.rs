//! Floor 7: interventions on a model: through the features of its dictionaries, along directions of its stream, from one
//! prompt's run to another's; the metrics and monitors that they are judged by.

pub mod erase;
pub mod feature_patch;
pub mod features;
#[cfg(test)]
pub mod fixtures;
pub mod grid;
pub mod interactions;
pub mod metric;
pub mod monitor;
pub mod paths;
pub mod rerun;
pub mod steer;
pub mod subspace;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
