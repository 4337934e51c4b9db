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
mod client_pages;
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
mod explorer_export;
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
mod grammars;
mod graph_viewer;
mod guide;
mod heads_and_lenses;
mod hints;
mod hostile;
mod hub;
mod injected;
mod interventions;
mod jupyter;
mod libraries;
mod libraries_page;
mod library_index;
mod live_guide;
mod live_reports;
mod lsp;
mod mcp;
mod memory;
mod method_receivers;
mod objects;
mod packages;
mod page;
mod page_engine;
mod python;
mod reading;
mod records;
mod repl;
mod saes;
mod serve;
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
mod trackers;
mod training;
mod trust;
#[path = "../methods/src/watch.rs"]
mod watch;
mod words;

// The writer of GGUF files and what watches tasks are shared with the crates' unit tests, and import these from the root of
// the crate.
use microtome::{base, tensor};
