//! Floor 2: models. Configs of families, weights and where they come from, tokenizers, sites, hooks, one decoder.

pub mod batch;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod family;
pub mod formats;
pub mod generate;
pub mod grads;
pub mod hooks;
pub mod hub;
pub mod layout;
pub mod predict;
pub mod load;
pub mod run;
pub mod site;
pub mod tokenizer;
pub mod tokens;
pub mod weights;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
