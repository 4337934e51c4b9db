//! Files of models that other programs write. Each gives its tensors as a `Source`, and a `Layout` where it says one.

mod base;
pub mod gguf;
pub mod lens;
pub mod llama2c;
pub mod pickle;
