//! All tests of the program as one binary, which links once: the language, the command line, the prompt, files, parity.
//!
//! `cargo test suite::` runs one module of them. What measures or limits its own process runs in one of its own
//! (`support::apart`).

mod access;
mod cli;
mod docs;
mod examples;
mod extremes;
mod families;
mod floors;
mod formats;
mod hostile;
mod hub;
mod interventions;
mod kept;
mod kills;
mod libraries;
mod memory;
mod page;
mod reading;
mod repl;
mod saes;
mod stores;
mod suite;
mod support;
mod tokenizers;
mod torture;
mod training;

// The writer of GGUF files, which is a part of the crate's own tests too, finds these at the root of the crate there.
use microtome::tensor;
