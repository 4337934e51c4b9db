//! A card as plain data: contexts in which a feature is active, tokens that it promotes, and its neighbours.

mod make;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::{Card, HeatText, Table};

pub use make::{CardOptions, CardPlan, SurveyedDictionary, card, cards};

/// The card of one feature. An unknown part is empty, and `notes` give the reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureCard {
    pub feature: usize,
    /// The site that the feature's dictionary reads; empty where unknown.
    pub site: String,
    pub title: String,
    /// The density and mean activation, with the histogram of activations.
    pub facts: Card,
    /// The description of the feature, where there is one.
    pub description: Option<Description>,
    /// The contexts in which the feature is active: max-activating examples first, then by strength, then drawn at
    /// random.
    pub contexts: Vec<Group>,
    /// Tables of the feature's tokens, its positions, the tokens that it promotes, and its neighbours.
    pub tables: Vec<Table>,
    /// The text that the card was made from, and what could not be computed.
    pub notes: Vec<String>,
}

/// The meaning of a feature, in words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Description {
    pub text: String,
    /// The correlation of the description's prediction with the activations, on held-out text.
    pub score: f64,
}

/// Contexts that were chosen in one way. The title of each names its origin, and the values are the feature's
/// activations at its tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// The name of the group: "strongest", "0.8 to 1 of the strongest", "drawn at random".
    pub name: String,
    pub texts: Vec<HeatText>,
}
