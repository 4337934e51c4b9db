//! microtome: a workbench for the interpretability of language models.
//!
//! The core's floors, and those above it, lowest first; imports go down only. See ARCHITECTURE.md.

pub use microtome_core::{
    bail, base, choices, circuit, data, err, features, intervene, model, options, probes, sae, tensor, training,
};

pub mod report;

pub mod explorer;

pub mod sweep;

pub mod script;

pub mod repl;

pub mod cli;

#[cfg(test)]
mod samples;
