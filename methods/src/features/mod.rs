//! Floor 8: features: the tokens at which they are active, their effects, and their meaning.

pub mod batch;
pub mod card;
pub mod chance;
pub mod contexts;
pub mod coverage;
pub mod dashboard;
pub mod describe;
pub mod evaluate;
pub mod explain;
pub mod facts;
pub mod feature;
pub mod for_label;
pub mod histogram;
pub mod labels;
pub mod logits;
pub mod near;
pub mod overview;
pub mod predicting;
pub mod survey;
pub mod text_codes;
pub mod tokens;
pub mod without;

#[cfg(test)]
pub mod samples;

#[cfg(test)]
use crate::fixtures;

pub use card::FeatureCard;
pub use dashboard::Dashboard;
pub use feature::{Feature, FeatureList};
pub use overview::Overview;
pub use survey::{Moment, Survey, Tally};
pub use text_codes::TextCodes;
pub use tokens::TokenPattern;
