//! Transcoder adapters (Hu et al. 2026, "Transcoder Adapters for Reasoning-Model Diffing"): what fine-tuning changed in MLPs, as a
//! sparse branch beside each MLP of the base.
//!
//! The [`hybrid`] is the tuned model with the MLPs of its base. Beside each of them an adapter adds W_d relu(W_e x + b_e) + b_d
//! to what the MLP writes, x being what it reads, so that the hybrid with its adapters predicts what the tuned model does. Only
//! the adapters are fitted ([`fit`]).

#[cfg(test)]
mod authors_tests;
mod branch;
mod fit;
mod hybrid;
mod loss;
mod options;
#[cfg(test)]
mod tests;

pub use fit::{FittedAdapters, fit};
pub use hybrid::hybrid;
pub use options::{AdapterLoss, AdapterOptions};
