//! Families of models: for each a reader of its config.json and a map of the names in its files.

mod check;
mod common;
mod foreign;
pub mod keys;
mod llama_names;
pub mod multimodal;
mod names;
mod prelude;
mod rope;
pub mod spelling;

mod bert;
mod bloom;
mod cohere;
mod cohere2;
mod deepseek_v2;
mod deepseek_v3;
mod falcon;
mod falcon_mamba;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma4;
mod glm4;
mod gpt2;
mod gpt_bigcode;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granitemoehybrid;
mod llama;
mod mamba;
mod mamba2;
mod mistral;
mod mixtral;
mod modernbert;
mod mpt;
mod olmo2;
mod olmo3;
mod opt;
mod own;
mod phi;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_5;
mod qwen3_5_moe;
mod qwen3_moe;
mod rwkv7;
mod smollm3;
mod stablelm;

use crate::common::*;
use crate::model::config::Config;
use crate::model::layout::Layout;
use keys::Keys;
use names::NameLine;

pub use common::with_head_size;
pub use own::{NAME as OWN, canonical, config_json};
pub use rope::grown;

/// The description of a family.
struct Family {
    /// Name of the family as `model_type` has it.
    name: &'static str,
    read: fn(&mut Keys) -> Result<Config>,
    /// Name maps; the first line that knows a weight wins.
    names: &'static [&'static [NameLine]],
    /// Tensors without learned weights.
    ignored: &'static [&'static str],
}

impl Family {
    /// Returns a family whose files have llama's names.
    const fn like_llama(name: &'static str, read: fn(&mut Keys) -> Result<Config>) -> Self {
        Self { name, read, names: &[llama_names::NAMES], ignored: llama_names::IGNORED }
    }
}

const FAMILIES: &[Family] = &[
    bert::FAMILY,
    bloom::FAMILY,
    cohere::FAMILY,
    cohere2::FAMILY,
    deepseek_v2::FAMILY,
    deepseek_v3::FAMILY,
    falcon::FAMILY,
    falcon_mamba::FAMILY,
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    gemma4::FAMILY,
    glm4::FAMILY,
    gpt2::FAMILY,
    gpt_bigcode::FAMILY,
    gpt_neo::FAMILY,
    gpt_neox::FAMILY,
    gpt_oss::FAMILY,
    gptj::FAMILY,
    granite::FAMILY,
    granitemoehybrid::FAMILY,
    llama::FAMILY,
    mamba::FAMILY,
    mamba2::FAMILY,
    mistral::FAMILY,
    mixtral::FAMILY,
    modernbert::FAMILY,
    mpt::FAMILY,
    olmo2::FAMILY,
    olmo3::FAMILY,
    opt::FAMILY,
    phi::FAMILY,
    phi3::FAMILY,
    qwen2::FAMILY,
    qwen2_moe::FAMILY,
    qwen3::FAMILY,
    qwen3_5_moe::FAMILY,
    qwen3_5::FAMILY,
    qwen3_moe::FAMILY,
    rwkv7::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
];

/// Returns the names of all families, sorted; the last is that of models made here.
pub fn known() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.name).chain([own::NAME]).collect()
}

/// Reads a config.json: the config, and where the model's files have the weights. Keys in `ignore` are skipped.
pub fn read(config_json: &Value, ignore: &[String]) -> Result<Layout> {
    let found = config_json.get("model_type").and_then(Value::as_str).ok_or_else(|| {
        err!(Format, "expected a config.json with the family's name as `model_type`, found none")
            .hint(format!("families are {}", known().join(" ")))
    })?;
    if found == own::NAME {
        return own::read(config_json);
    }
    let family =
        FAMILIES.iter().find(|family| family.name == found).ok_or_else(|| foreign::refused(found, &known()))?;
    let mut keys = Keys::new(config_json)?;
    if !ignore.iter().any(|key| key == QUANTISED) {
        plain_weights(config_json)?;
    }
    let config = (family.read)(&mut keys)?;
    keys.finish(ignore)?;
    names::layout(config.checked_of_file()?, family.names, family.ignored)
}

/// Returns where the files of a config's family have its weights, if it is a published family.
pub fn layout(config: &Config) -> Result<Option<Layout>> {
    let family = FAMILIES.iter().find(|family| family.name == config.family);
    family.map(|family| names::layout(config.clone(), family.names, family.ignored)).transpose()
}

const QUANTISED: &str = "quantization_config";

/// Refuses weights that the config says are quantised.
fn plain_weights(config_json: &Value) -> Result<()> {
    match config_json.get(QUANTISED).and_then(|how| how.get("quant_method")).and_then(Value::as_str) {
        None => Ok(()),
        Some(method) => {
            Err(err!(Format, "the weights are quantised as {method} (`{QUANTISED}`), which is not implemented")
                .hint("save the model dequantised, in bf16 or f32, or load a GGUF file of it"))
        }
    }
}

#[cfg(test)]
mod tests;
