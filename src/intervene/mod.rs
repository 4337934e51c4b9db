//! Floor 6: interventions on a model. Hooks on the features of its dictionaries; metrics of pairs of prompts, and
//! patching of one prompt's activations into the other.

pub mod features;
pub mod grid;
pub mod metric;

pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
