//! What the tests of all crates share: comparisons of numbers, fixtures and files, flags that are raised in a moment, servers
//! on loopback, an editor, and pages that are followed.
//!
//! It depends on no crate of the workspace: a crate under test is compiled a second time, so its types would be others here.

mod compare;
pub mod editor;
mod fixtures;
pub mod http;
mod moments;
mod page_commands;

pub use compare::{Numbers, assert_close, assert_near, close, far, far_relative, largest, within};
pub use fixtures::{fixture, json, tensors, write};
pub use moments::raise_after;
pub use page_commands::{PageBlock, PageCommand, PageShell, page_blocks};
