//! The element-wise work of models, fused: norms, activations, softmax, rotary positions, attention, linear maps.
//!
//! Each function picks its way: the fused loops where the tensors lie in the processor's memory and nobody asks for
//! gradients, else its plain twin made of candle's operations, which runs on a GPU and can be differentiated.

mod activation;
mod attention;
mod attention_plain;
mod dots;
mod elementwise;
mod level;
mod linear;
mod losses;
mod math;
mod norm;
mod norm_rows;
mod numbers;
mod product;
mod reach;
mod rotary;
mod softmax;

pub use activation::{Activation, activate, activate_gated};
pub use attention::{attention, mix, pattern, scores};
pub use level::Level;
pub use linear::{add, linear, linear_activated};
pub use losses::token_losses;
pub use norm::{NormKind, norm, norm_scale, norm_with_scale};
pub use reach::{Gap, Reach};
pub use rotary::{Rotation, rotate};

#[cfg(test)]
mod tests;
