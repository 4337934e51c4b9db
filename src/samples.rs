//! The small models and dictionaries of the core's tests, for the tests of these floors.

#![expect(dead_code, reason = "each crate uses some of them")]

#[path = "../core/src/model/fixtures.rs"]
mod fixtures;

#[path = "../core/src/features/samples.rs"]
mod features;

pub use features::*;
