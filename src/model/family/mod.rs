//! Families of models: for each a reader of its config.json and a map of the names in its files.

mod check;
mod common;
pub mod keys;
mod llama_names;
mod names;
mod rope;
pub mod spelling;

mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod granite;
mod llama;
mod mistral;
mod olmo2;
mod olmo3;
mod opt;
mod own;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod stablelm;

use serde_json::Value;

use super::config::Config;
use super::layout::Layout;
use crate::base::names::nearest;
use crate::base::{Error, Result};
use crate::err;
use keys::Keys;
use names::Line;

pub use common::{plain, with_head_size};
pub use own::{NAME as OWN, canonical, config_json};

/// The description of a family.
struct Family {
    /// As `model_type` has it.
    name: &'static str,
    read: fn(&mut Keys) -> Result<Config>,
    /// Name maps; the first line that knows a weight wins.
    names: &'static [&'static [Line]],
    /// Tensors without learned weights.
    ignored: &'static [&'static str],
}

const FAMILIES: &[Family] = &[
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    gpt2::FAMILY,
    gpt_neo::FAMILY,
    gpt_neox::FAMILY,
    gptj::FAMILY,
    granite::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    olmo2::FAMILY,
    olmo3::FAMILY,
    opt::FAMILY,
    phi::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
];

/// The names of all families, sorted; the last is that of models made here.
pub fn known() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.name).chain([own::NAME]).collect()
}

/// The config of a config.json, and where the model's files have the weights. Keys in `ignore` are skipped.
pub fn read(config_json: &Value, ignore: &[String]) -> Result<Layout> {
    let found = config_json.get("model_type").and_then(Value::as_str).ok_or_else(|| {
        err!(Format, "expected a config.json with the family's name as `model_type`, found none")
            .hint(format!("families are {}", known().join(" ")))
    })?;
    if found == own::NAME {
        return own::read(config_json);
    }
    let family = FAMILIES.iter().find(|family| family.name == found).ok_or_else(|| unknown(found))?;
    let mut keys = Keys::new(config_json)?;
    let config = (family.read)(&mut keys)?;
    keys.finish(ignore)?;
    names::layout(config.checked_of_file()?, family.names, family.ignored)
}

fn unknown(found: &str) -> Error {
    let known = known();
    let near = nearest(found, known.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    err!(Format, "the family `{found}` of the config.json is not known")
        .hint(format!("{near}families are {}", known.join(" ")))
}

#[cfg(test)]
mod tests;
