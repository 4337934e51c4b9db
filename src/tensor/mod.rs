//! Floor 1: tensors. Indexing, reductions, linear algebra, statistics, summaries, and tensor files in and out.
//!
//! The type is candle's [`Tensor`]; here are functions over it that check their arguments in our words, are exact where
//! candle is not (integers, sums, NaN, ties), and cover what it lacks. Results that need gradients (arithmetic,
//! matrix products, indexing, sums, extremes, softmax) are made of operations that candle can differentiate.
//!
//! Nothing here polls for Ctrl-C: callers put calls on large tensors into [`crate::base::Task::heavy`].

pub mod arithmetic;
pub mod axes;
mod body;
pub mod card;
pub mod compare;
pub mod create;
pub mod dtype;
pub mod einsum;
mod element;
pub mod elementwise;
mod error;
pub mod files;
pub mod fourier;
pub mod gather;
pub mod index;
pub mod linalg;
pub mod matmul;
pub mod normalise;
pub mod number;
pub mod order;
pub mod reduce;
pub mod shape;
pub mod statistics;
mod walk;

pub use candle_core::{DType, Device, Tensor};
pub use element::{floats, ints, steps};
pub use number::{Number, Operand};

pub use element::room;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod gradients;
