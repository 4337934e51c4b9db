//! Files of models that other programs write. Each gives its tensors as a `TensorSource`, and a `Layout` where it has one.

mod base;
pub mod gguf;
pub mod lens;
pub mod llama2c;
pub mod pickle;
