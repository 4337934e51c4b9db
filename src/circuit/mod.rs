//! Floor 7: circuits: which features lead to which, and how well that is judged.

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
