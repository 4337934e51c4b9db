//! The names that most files above the dictionaries use: those of all files, a text, pairs of prompts, and dictionaries.

pub use crate::common::*;
pub use crate::data::Text;
pub use crate::data::pairs::tokens::{Prompt, TokenPair};
pub use crate::sae::Sae;
pub use crate::sae::lorsa::Lorsa;
