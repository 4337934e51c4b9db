//! Floor 6: looking at features: where they are active, what they do, and what they stand for.

pub mod chance;
pub mod card;
pub mod describe;
pub mod facts;
pub mod labels;
pub mod predicting;
pub mod readings;
pub mod survey;

pub use readings::Readings;
pub use card::FeatureCard;
pub use survey::{Moment, Survey, Tally};
