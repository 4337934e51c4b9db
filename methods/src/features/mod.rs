//! Floor 13: features: the tokens at which they are active, their effects, and their meaning; and attention heads.
//!
//! ```rust,no_run
//! use microtome_methods::features::overview::OverviewOptions;
//! use microtome_methods::features::predicting::{PredictingOptions, predicting};
//! use microtome_methods::prelude::*;
//!
//! /// Makes the card of the feature of a dictionary that promotes ")" most in a text.
//! fn closing(model: &Model, sae: &Sae, text: &Text, task: &Task) -> Result<FeatureCard> {
//!     let options = PredictingOptions { candidates: 4, ..Default::default() };
//!     let ranking = predicting(model, sae, text, &[")".into()], &options, task)?;
//!     let overview = Overview::of(model, vec![sae.clone()], text, OverviewOptions::default(), task)?;
//!     overview.card(model, 0, ranking.feature(0)?.index, task)
//! }
//! ```

pub mod ablated;
pub mod batch;
pub mod card;
pub mod contexts;
pub mod coverage;
pub mod dashboard;
pub mod describe;
pub mod evaluate;
pub mod explain;
pub mod facts;
pub mod feature;
pub mod for_label;
pub mod heads;
pub mod histogram;
pub mod labels;
pub mod logits;
pub mod lorsa;
pub mod neighbours;
pub mod overview;
pub mod predicting;
pub mod survey;
pub mod text_codes;
pub mod tokens;

#[cfg(test)]
pub mod samples;

#[cfg(test)]
use crate::fixtures;

pub use card::FeatureCard;
pub use dashboard::Dashboard;
pub use feature::{Feature, FeatureList};
pub use heads::HeadCards;
pub use overview::Overview;
pub use survey::{Moment, Survey, Tally};
pub use text_codes::TextCodes;
pub use tokens::TokenPattern;
