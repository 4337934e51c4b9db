//! Floor 12: interventions on a model, through the features of its dictionaries, along directions of its residual
//! stream, or from one prompt's run to another's; and the metrics and monitors that judge them.
//!
//! ```rust,no_run
//! use microtome_methods::data::pairs::PairOptions;
//! use microtome_methods::data::pairs::tokens::{PairTokenOptions, token_pairs};
//! use microtome_methods::intervene::grid::{GridBy, GridOptions, grid};
//! use microtome_methods::prelude::*;
//!
//! let task = Task::default();
//! let files = Files::unrecorded("out".as_ref())?;
//! let model = Model::load(&files, "tiny", &LoadSettings::default(), &task)?;
//!
//! // Pairs of prompts of one length, and where in the model their difference is, by activation patching.
//! let form = PairTokenOptions { same_length: true, ..Default::default() };
//! let options = PairOptions { n: 4, ..Default::default() };
//! let drawn = token_pairs("parenthesis", &options, &form, model.tokenizer()?, &task)?;
//! let pairs: Vec<TokenPair> = drawn.into_iter().map(|(_, tokens)| tokens).collect();
//! let by_layer = GridOptions { by: GridBy::Layer, ..Default::default() };
//! let effects = grid(&model, &pairs, Measure::LogitDiff, true, &[], &by_layer, &task)?;
//!
//! // The embeddings have all of it.
//! assert!((effects.values[0] - 1.0).abs() < 1e-3);
//! # Ok::<(), Error>(())
//! ```

pub mod chance;
mod each_text;
pub mod erase;
pub mod feature_patch;
pub mod features;
#[cfg(test)]
pub mod fixtures;
pub mod grid;
pub mod interactions;
pub mod metric;
pub mod monitor;
pub mod paths;
pub mod rerun;
pub mod sentences;
pub mod steer;
pub mod subspace;
pub mod traits;

pub use erase::{Eraser, EraserKind};
pub use features::{FeatureHook, FeatureHookOptions, OnFeatures};
