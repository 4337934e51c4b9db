//! Floor 6: looking at features: where they are active, what they do, and what they stand for.

pub mod card;
pub mod contexts;
pub mod describe;
pub mod histogram;
pub mod logits;
pub mod near;
pub mod predicting;
pub mod survey;

#[cfg(test)]
mod samples;

pub use card::FeatureCard;
pub use survey::{Moment, Survey, Tally};
