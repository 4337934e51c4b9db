//! Floor 7: circuits: which features lead to which, and how well that is judged.

pub mod graph;
pub mod judge;
pub mod shared;
pub mod tree;

#[cfg(test)]
mod samples;

pub use graph::{Edge, Graph, Node};
