//! microtome: a workbench for the interpretability of language models.
//!
//! The floors, lowest first; imports go down only. See ARCHITECTURE.md.

pub mod base;

pub mod tensor;

pub mod training;

pub mod probes;

pub mod model;

pub mod data;

pub mod sae;

pub mod intervene;

pub mod features;

pub mod circuit;

pub mod report;

pub mod explorer;

pub mod sweep;

pub mod script;

pub mod repl;

pub mod cli;
