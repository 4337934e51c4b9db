//! A fuzzing harness that looks for crashes: random calls of everything in the reference, mutated examples, damaged
//! files for every reader, and tensors of odd shapes.
//!
//! A case is a Rhai script and its files, and is reproducible from its part, a seed and its number. Cases run in a
//! child process under a memory limit, which reports the current case, so that a crash is attributed to it.
//! `tests/torture/tests.rs` runs a few cases of each part with the other tests, `examples/torture.rs` as many as an
//! hour allows.

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
#[path = "../../core/src/checkpoint/formats/gguf/writer.rs"]
mod writer;

use std::time::Duration;

use watch::Limits;

/// The names of all parts.
pub fn parts() -> Vec<&'static str> {
    let readers = readers::READERS.iter().map(|reader| reader.name);
    ["calls", "tensors", "examples"].into_iter().chain(readers).collect()
}

/// A timeout of ten seconds, and one more to react to it. Of the address space, 2 GiB are stacks that stay unused.
pub const LIMITS: Limits =
    Limits { memory: 6 << 30, patience: Duration::from_secs(10), hearing: Duration::from_secs(1) };
