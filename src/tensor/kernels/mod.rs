//! The element-wise work of models, fused: norms, activations, softmax, rotary positions, attention, linear maps.
//!
//! Each function picks its way: the fused loops where the tensors lie in the processor's memory, else its plain twin made
//! of candle's operations, which runs on a GPU. Where gradients are asked for, the fused loops have backward passes of
//! their own in f32; other dtypes, and operations without one, take the twin.

mod activation;
mod adamw;
mod attention;
mod attention_back;
mod attention_blocks;
mod attention_plain;
mod cross_entropy;
mod dots;
mod elementwise;
mod embed;
mod in_place;
mod level;
mod linear;
mod losses;
mod math;
mod norm;
mod norm_back;
mod norm_rows;
mod numbers;
mod product;
mod reach;
mod record;
mod rotary;
mod rows;
mod softmax;
pub mod sparse;
mod tape;

pub use activation::{Activation, activate, activate_gated};
pub use adamw::{AdamW, adamw_step, global_norm};
pub use attention::{attention, mix, pattern, scores};
pub use cross_entropy::cross_entropy;
pub use embed::look_up;
pub use level::{Level, arch};
pub use linear::{add, linear, linear_activated};
pub use losses::token_losses;
pub use norm::{norm, norm_scale, norm_with_scale};
pub use norm_rows::NormKind;
pub use numbers::{Numbers, flat};
pub use reach::{Gap, Reach};
pub use rotary::{Rotation, rotate};
pub use rows::{centred, picked};
pub use tape::{Gradients, Taped, reshape};

#[cfg(test)]
mod tests;
