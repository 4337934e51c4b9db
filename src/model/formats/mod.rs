//! Files of models that other programs write. Each gives its tensors as a `Source`, and a `Layout` where it says one.

pub mod gguf;
mod reader;
