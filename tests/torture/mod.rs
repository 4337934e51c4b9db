//! A harness that goes on looking for what brings the program down: random calls of everything that the reference lists,
//! examples with their words changed, damaged files for every reader, and tensors of odd shapes.
//!
//! A case is a text in Rhai, and files; its part, a seed and its number make it again. Cases run in a child process under
//! a limit of memory, which says at which it is, so that its death belongs to a case. `tests/torture/tests.rs` runs a few of
//! each on every run of the tests, `examples/torture.rs` as many as an hour has.

#![allow(dead_code, reason = "the tests and the example use their own parts")]

pub mod binary;
mod calls;
pub mod child;
mod damage;
mod dice;
mod examples;
pub mod kills;
pub mod long;
pub mod readers;
pub mod samples;
pub mod session;
pub mod table;
pub mod terminal;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod values;
pub mod watch;
#[path = "../../src/model/formats/gguf/writer.rs"]
mod writer;

use std::time::Duration;

// The writer of GGUF files takes these from where it stands in the crate.
use microtome::model::formats::gguf::Value;

use watch::Limits;

/// The names of all parts.
pub fn parts() -> Vec<&'static str> {
    let readers = readers::READERS.iter().map(|reader| reader.name);
    ["calls", "tensors", "examples"].into_iter().chain(readers).collect()
}

/// Ten seconds, and one to hear that they are over. Of the address space 2 GiB are stacks that nobody fills.
pub const LIMITS: Limits =
    Limits { memory: 6 << 30, patience: Duration::from_secs(10), hearing: Duration::from_secs(1) };
