//! What a language model has to beat: n-grams, and programs that make files smaller.

mod compressed;
mod ngram;

pub use compressed::{Program, bits_per_byte};
pub use ngram::Ngram;
