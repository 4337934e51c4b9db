//! microtome: a workbench for taking language models apart.
//!
//! The floors of the house, lowest first; imports go down only. See ARCHITECTURE.md.

pub mod base;

pub mod tensor;

pub mod model;

pub mod data;

pub mod sae;

pub mod report;

pub mod script;

pub mod repl;

pub mod cli;
