//! microtome: a workbench for the interpretability of language models.
//!
//! The floors of the core and of its methods, and those above, lowest first; imports go down only. See ARCHITECTURE.md.

pub use microtome_methods::{
    bail, base, checkpoint, choices, circuit, data, decomposition, diff, err, features, intervene, model, net, options,
    prelude, probes, questions, sae, tensor, tokenizer, training,
};

mod common;

pub mod report;

pub mod explorer;

#[cfg(feature = "sweep")]
pub mod sweep;

pub mod script;

pub mod repl;

#[cfg(feature = "jupyter")]
pub mod jupyter;

#[cfg(feature = "mcp")]
#[cfg_attr(not(feature = "explorer"), allow(dead_code))]
pub mod mcp;

#[cfg(feature = "lsp")]
pub mod lsp;

#[cfg(feature = "explorer")]
pub mod serve;

#[cfg(feature = "terminal")]
pub mod cli;

#[cfg(test)]
mod samples;
