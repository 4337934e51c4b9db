//! A card as plain data: where a feature is active, what it promotes, and what is near it.

mod make;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::{Card, HeatText, Table};

pub use make::{CardOptions, CardPlan, Surveyed, card, cards};

/// The card of one feature. An unknown part is empty, and `notes` say why.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FeatureCard {
    pub feature: usize,
    /// The site that its dictionary reads; empty where unknown.
    pub site: String,
    pub title: String,
    /// Density and mean code, with the histogram of its codes.
    pub facts: Card,
    /// Its description, where there is one.
    pub description: Option<Description>,
    /// Where it is active: the strongest first, then by how strong they are, then drawn at random.
    pub contexts: Vec<Group>,
    /// Its tokens, its positions, what it promotes, and its neighbours.
    pub tables: Vec<Table>,
    /// The text that it was made from, and what could not be computed.
    pub notes: Vec<String>,
}

/// What a feature stands for, in words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Description {
    pub text: String,
    /// The correlation of the description's prediction with the codes, on held-out text.
    pub score: f64,
}

/// Contexts that were chosen in one way. Of each, the title says where it is from, and the values are the feature's
/// codes at its tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// Such as "strongest", "0.8 to 1 of the strongest", "drawn at random".
    pub name: String,
    pub texts: Vec<HeatText>,
}
