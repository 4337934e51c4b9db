//! Floor 6: interventions on a model: through the features of its dictionaries, along directions and in subspaces of its
//! sites.

pub mod feature_patch;
pub mod features;
pub mod interactions;
mod rerun;
pub mod steer;
pub mod subspace;

pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
