//! Floor 5: what is done to a model by way of the features of its dictionaries.

pub mod features;

pub use features::OnFeatures;
