//! Files of models that other programs write. Each is a `TensorSource`, with a `Layout` where the format determines
//! one.

mod base;
pub mod gguf;
pub mod lens;
pub mod llama2c;
pub mod pickle;
