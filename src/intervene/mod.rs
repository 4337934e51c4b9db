//! Floor 7: interventions on a model: through the features of its dictionaries, and erasing what probes read.

pub mod erase;
pub mod features;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
