//! Floor 7: interventions on a model: through the features of its dictionaries, erasing what probes read, monitors.

pub mod erase;
pub mod features;
pub mod monitor;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
