//! All tests of the program in one binary, which links once: the language, the command line, the prompt, files, parity.
//!
//! `cargo test suite::` runs one module of them. Tests that measure or limit their own process run in a separate one
//! (`support::apart`).

mod access;
mod agents;
mod batches;
mod cached_dictionaries;
mod cases;
mod cli;
mod closures;
mod comparisons;
mod dashboards;
mod data_sets;
mod docs;
mod draws;
mod endpoint;
mod examples;
mod explore_command;
mod explorer;
mod extremes;
mod families;
mod figures;
mod floors;
mod formats;
mod formatting;
mod from_python;
mod front_pages;
mod gallery;
mod gemma;
mod gguf;
mod gpu;
mod guide;
mod hints;
mod hostile;
mod hub;
mod injected;
mod interventions;
mod jupyter;
mod libraries;
mod mcp;
mod memory;
mod method_receivers;
mod objects;
mod packages;
mod page;
mod python;
mod reading;
mod records;
mod repl;
mod saes;
mod session_view;
mod site;
mod stores;
mod suite;
mod support;
mod sweeps;
mod tables;
mod tasks;
mod tokenizers;
mod torture;
mod training;
mod trust;
mod words;

// The writer of GGUF files is shared with the crate's unit tests, and imports these from the root of the crate.
use microtome::tensor;
