//! Baselines for language models: n-grams and compressors.

mod compressed;
mod ngram;

pub use compressed::{Program, bits_per_byte};
pub use ngram::{Ngram, NgramOptions, NgramPredictOptions};
