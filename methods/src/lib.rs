//! What is done with language models: texts, dictionaries, interventions, features and circuits, without scripts and
//! without pictures.
//!
//! The core's floors, and those above it, lowest first; imports go down only. See ARCHITECTURE.md.

pub use microtome_core::{bail, base, choices, err, model, options, probes, tensor, training};

pub mod data;

pub mod sae;

pub mod intervene;

pub mod features;

pub mod circuit;

#[cfg(test)]
#[path = "../../core/src/model/fixtures.rs"]
mod fixtures;
