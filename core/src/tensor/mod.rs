//! Floor 4: tensors. Indexing, reductions, linear algebra, statistics, summaries, and tensor files in and out.
//!
//! The type is candle's [`Tensor`]; here are functions over it that check their arguments in our words, are exact where
//! candle is not (integers, sums, NaN, ties), and cover what it lacks. Every result has its gradient, by candle's
//! operations or by a backward pass here (`backward.rs`), but for those that are constant almost everywhere (masks,
//! counts, indices, rounding) and those that refuse a tensor that tracks gradients, by name.
//!
//! Nothing here polls for Ctrl-C: callers put calls on large tensors into [`crate::base::Task::heavy`].
//!
//! ```rust,no_run
//! use microtome_core::base::Error;
//! use microtome_core::tensor::einsum::einsum;
//! use microtome_core::tensor::{Device, Tensor};
//!
//! let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
//! let gram = einsum("ij,ik->jk", &[x.clone(), x])?;
//! assert_eq!(gram.to_vec2::<f32>()?, [[10.0, 14.0], [14.0, 20.0]]);
//! # Ok::<(), Error>(())
//! ```

pub mod arithmetic;
pub mod axes;
mod backward;
pub mod card;
pub mod compare;
pub mod create;
pub mod derivative;
pub mod device;
mod display;
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
mod values;
mod walk;

pub use candle_core::{DType, Device, Tensor};
pub use element::{floats, ints, steps, steps_of};
pub use number::{Number, Operand, float};
pub use values::Values;

pub use element::room;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod gradients;
