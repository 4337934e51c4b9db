//! Floor 7: looking at features: where they are active, what they do, and what they stand for.

pub mod card;
pub mod chance;
pub mod contexts;
pub mod describe;
pub mod facts;
pub mod histogram;
pub mod labels;
pub mod logits;
pub mod near;
pub mod predicting;
pub mod readings;
pub mod survey;
pub mod without;

#[cfg(test)]
mod samples;

pub use card::FeatureCard;
pub use readings::Readings;
pub use survey::{Moment, Survey, Tally};
