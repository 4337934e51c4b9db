//! Explanations of features and their scores: explained on one half of a text's fragments, and judged on the other.
//!
//! Simulation (Bills et al. 2023, Cunningham et al. 2023): the correlation of simulated with real activations.
//! Detection and fuzzing (Paulo et al. 2024): the accuracy with which the explanation separates contexts, or marked
//! tokens, from others.

mod by_model;
mod classified;
mod delphi;
mod explainer;
mod explanation;
mod fragments;
mod interpretability;
pub mod recorded;
mod score;
mod simulated;
mod simulation;
mod verdicts;
mod words;

#[cfg(test)]
mod judging_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod tests;

pub use by_model::ModelAnswerer;
pub use explainer::{ExplainOptions, explain};
pub use explanation::{Answerer, Explanation};
pub use interpretability::interpretability;
pub use score::{ExplanationScore, Method, ScoreOptions, score, table};
