//! Floor 7: interventions on a model: through the features of its dictionaries, and along directions of its stream.

pub mod erase;
pub mod feature_patch;
pub mod features;
mod rerun;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
