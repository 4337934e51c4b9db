//! What the tests of all crates share: comparisons of numbers, fixtures, servers on loopback, and an editor.
//!
//! It depends on no crate of the workspace: a crate under test is compiled a second time, so its types would be others here.

mod compare;
pub mod editor;
mod fixtures;
pub mod http;

pub use compare::{Numbers, assert_close, assert_near, close, far, far_relative, largest, within};
pub use fixtures::{fixture, json, tensors};
