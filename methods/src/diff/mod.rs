//! Floor 15: what fine-tuning changed: two models that read the same tokens, or a model with an adapter and its base.
//!
//! Their predictions are compared token by token ([`kl`]), their activations by the mean difference at the first tokens
//! (Minder et al. 2025b, "Narrow Finetuning Leaves Clearly Readable Traces in Activation Differences") and by principal
//! components of all differences, and their logits by the tokens that rise, over a text and in groups. What changed in MLPs is
//! learned by sparse branches beside them ([`transcoder_adapters`]).

mod activations;
mod components;
mod factorise;
mod kl;
mod mining;
mod pair;
#[cfg(test)]
mod tests;
pub mod transcoder_adapters;

pub use activations::{ActivationDifference, FirstTokens, PositionDifference, activations};
pub use components::{DifferenceComponents, DifferenceRows, components, differences};
pub use factorise::{Factorisation, SparseRow, factorise};
pub use kl::{TokenDivergences, kl};
pub use mining::{MinedTokens, MiningOptions, TokenRise, Topic, mine};
pub use pair::{DiffText, ModelPair, RowPosition};
