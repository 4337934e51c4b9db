//! Floor 6: interventions on a model. Hooks on the features of its dictionaries; metrics of pairs of prompts.

pub mod features;
pub mod metric;

pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
