//! Floor 16: parameter decomposition. The matrices of a network become sums of rank-one parts, with a small network that
//! says how much each part matters on an input (Bushnaq, Braun and Sharkey 2025, Stochastic Parameter Decomposition).
//!
//! A [`Target`] is a function of some matrices; [`fit`](fit::fit) finds their [`MatrixParts`]. There are two targets: networks
//! of a few layers on sparse inputs ([`network`]), whose parts are known, and one MLP of a language model ([`mlp`]).

mod adversary;
pub mod cached;
pub mod card;
pub mod effect;
pub mod file;
pub mod fit;
pub mod gates;
pub mod loss;
pub mod masks;
pub mod mlp;
pub mod network;
pub mod options;
pub mod parts;
pub mod result;
mod state;
pub mod table;
pub mod target;

#[cfg(test)]
mod tests;

pub use options::FitOptions;
pub use parts::MatrixParts;
pub use result::{Decomposed, Decomposition};
pub use state::StepLosses;
pub use target::Target;
