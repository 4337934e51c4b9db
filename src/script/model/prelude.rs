//! The names that most bindings about models use: those of all bindings, and a model with its texts, tokens and batches.

pub use crate::model::batch::Batch;
pub use crate::script::model::Model;
pub use crate::script::model::input::{one_text, texts};
pub use crate::script::prelude::*;
pub(in crate::script) use crate::script::tensor::values;
pub use crate::tokenizer::tokens::Tokens;
