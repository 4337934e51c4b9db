//! Floor 7: interventions on a model: through the features of its dictionaries, along directions of its stream, and the
//! metrics of pairs of prompts that they are judged by.

pub mod erase;
pub mod feature_patch;
pub mod features;
pub mod metric;
mod rerun;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
