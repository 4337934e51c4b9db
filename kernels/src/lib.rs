//! The element-wise work of models, fused: norms, activations, softmax, rotary positions, attention, linear maps.
//!
//! Each function takes the fused loops for tensors in CPU memory, and else its reference implementation in candle's
//! operations (`.._plain`), which also runs on a GPU. In f32 the fused loops have their own backward passes; other dtypes,
//! and operations without one, take the reference implementation where gradients are needed.
//!
//! ```rust,no_run
//! use candle_core::{Device, Tensor};
//! use kernels::{Activation, Error, activate};
//!
//! let x = Tensor::new(&[-1f32, 0.0, 2.0], &Device::Cpu)?;
//! assert_eq!(activate(&x, Activation::Relu)?.to_vec1::<f32>()?, [0.0, 0.0, 2.0]);
//! # Ok::<(), Error>(())
//! ```

mod act;
mod activation;
mod adam;
mod adamw;
mod attention;
mod attention_back;
mod attention_blocks;
mod attention_plain;
mod cross_entropy;
pub mod device;
mod dots;
mod elementwise;
mod embed;
pub mod error;
mod half_precision;
mod in_place;
mod instructions;
mod linear;
mod losses;
mod math;
pub mod memory;
mod norm;
mod norm_back;
mod norm_rows;
mod numbers;
mod packed;
pub mod parallel;
mod product;
mod reach;
mod record;
mod rotary;
mod rotation;
mod rows;
mod softmax;
pub mod sparse;
mod tape;
mod thread_pool;

pub use act::Activation;
pub use activation::{activate, activate_gated};
pub use adam::AdamW;
pub use adamw::{adamw_step, global_norm};
pub use attention::{attention, mix, pattern, pattern_with_sinks, scores};
pub use cross_entropy::cross_entropy;
pub use embed::look_up;
pub use error::{Error, Kind, Result};
pub use instructions::{InstructionSet, arch};
pub use linear::{add, linear, linear_activated};
pub use losses::token_losses;
pub use norm::{norm, norm_gradient, norm_scale, norm_with_scale};
pub use norm_rows::NormKind;
pub use numbers::{FlatNumbers, flat};
pub use packed::{PackedMatrix, Packing, linear_packed};
pub use reach::{Gap, Reach};
pub use record::{on_tape, with_gradient};
pub use rotary::rotate;
pub use rotation::Rotation;
pub use rows::{centred, picked};
pub use tape::{ArgumentGradients, Gradients, TapedTensor, reshape, without_tape};

#[cfg(test)]
mod tests;
