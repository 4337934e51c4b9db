//! The element-wise work of models, fused: norms, activations, softmax, rotary positions, attention, linear maps.
//!
//! Each function picks its way: the fused loops where the tensors lie in the processor's memory and nobody asks for
//! gradients, else its plain twin made of candle's operations, which runs on a GPU and can be differentiated.

mod activation;
mod attention;
mod linear;
mod norm;
mod rotary;

pub use activation::{Activation, activate, activate_gated};
pub use attention::{Gap, Reach, attention, mix, pattern, scores};
pub use linear::{add, linear};
pub use norm::{NormKind, norm, norm_scale, norm_with_scale};
pub use rotary::{Rotation, rotate};
