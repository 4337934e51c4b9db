//! Floor 8: circuits: which features cause which, and how well a circuit explains its target.

pub mod attribution;
pub mod due;
pub mod enough;
pub mod graph;
pub mod judge;
pub mod selection;
pub mod shared;
pub mod tree;

#[cfg(test)]
mod samples;

pub use graph::{Edge, Graph, Node};
pub use selection::Selection;
