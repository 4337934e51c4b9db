//! `data::` and the methods of what it makes: texts, tokenizers, baselines.

mod tokenizer;

use rhai::exported_manifest;
use rhai::plugin::*;

/// What is called through the module: `data::tokenizer(texts)`.
pub fn functions() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(tokenizer::functions)]
}

/// The methods of what the module makes.
pub fn globals() -> Vec<&'static ModuleManifest> {
    vec![exported_manifest!(tokenizer::methods)]
}
