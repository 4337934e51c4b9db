//! The small models and dictionaries of the core's and its methods' tests, for the tests of these floors.

#![expect(dead_code, reason = "each crate uses some of them")]

#[path = "../core/src/model/fixtures.rs"]
mod fixtures;

#[path = "../methods/src/features/samples.rs"]
mod features;

pub use features::*;
