//! Floor 6: interventions on a model through the features of its dictionaries.

pub mod features;

pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
