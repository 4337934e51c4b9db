//! Floor 6: looking at features: where they are active, what they do, and what they stand for.

pub mod card;
pub mod describe;
pub mod predicting;
pub mod survey;

pub use card::FeatureCard;
pub use survey::{Moment, Survey, Tally};
