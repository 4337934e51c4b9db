//! Floor 2: models. Configs of families, weights and where they come from, tokenizers, sites, hooks, one decoder.

pub mod batch;
pub mod config;
pub mod hooks;
pub mod layout;
pub mod site;
pub mod tokenizer;
pub mod tokens;
pub mod weights;
