//! Floor 7: interventions on a model, through the features of its dictionaries, along directions of its residual
//! stream, or from one prompt's run to another's; and the metrics and monitors that judge them.

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
