//! The fixtures, and folders made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microtome::base::Task;
use microtome::base::files::Files;
use microtome::checkpoint::load::{self, LoadSettings};
use microtome::model::decoder::Decoder;
use microtome::tensor::files::{NamedTensors, TensorTree, open, safetensors};
use microtome::tensor::{DType, Tensor};

/// Families that predict masked tokens, and so continue no text.
pub const ENCODERS: [&str; 3] = ["bert", "modernbert", "modernbert_biases"];

pub const FAMILIES: [&str; 51] = [
    "bert",
    "bloom",
    "cohere",
    "cohere2",
    "deepseek_v2",
    "deepseek_v2_groups",
    "deepseek_v3",
    "falcon",
    "falcon_alibi",
    "falcon_grouped",
    "falcon_mamba",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gemma4_text",
    "gemma4_text_experts",
    "glm4",
    "gpt2",
    "gpt_bigcode",
    "gpt_bigcode_heads",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox_serial",
    "gpt_oss",
    "gptj",
    "granite",
    "granitemoehybrid",
    "granitemoehybrid_experts",
    "llama",
    "llama3_rope",
    "mamba",
    "mamba2",
    "mistral",
    "mixtral",
    "modernbert",
    "modernbert_biases",
    "mpt",
    "olmo2",
    "olmo3",
    "opt",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_moe",
    "rwkv7",
    "smollm3",
    "stablelm",
];

pub fn fixture(family: &str) -> PathBuf {
    kit::fixture("models").join(family)
}

pub fn files() -> Files {
    Files::unrecorded(&std::env::temp_dir().join("microtome-families")).unwrap()
}

pub fn load(files: &Files, folder: &Path, options: &LoadSettings) -> Decoder {
    let loaded = load::folder(files, folder, options, &Task::default()).unwrap_or_else(|e| panic!("{e}"));
    Decoder::new(loaded.config, loaded.weights)
}

pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let TensorTree::Map(named) = open(&files(), path).unwrap().read().unwrap() else { panic!("no tensors by name") };
    let tensor = |(name, tree)| match tree {
        TensorTree::Tensor(tensor) => (name, tensor),
        other => panic!("{other:?} where a tensor was expected"),
    };
    named.into_iter().map(tensor).collect()
}

pub fn expected(family: &str) -> BTreeMap<String, Tensor> {
    tensors(&fixture(family).join("expected.safetensors"))
}

pub fn config_json(family: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(family).join("config.json")).unwrap()).unwrap()
}

/// Writes tensors as one file of a folder.
pub fn write(place: &Path, tensors: BTreeMap<String, Tensor>) {
    let mut bytes = Vec::new();
    safetensors::write(&NamedTensors { tensors, ..NamedTensors::default() }, &mut bytes).unwrap();
    std::fs::write(place, bytes).unwrap();
}

pub fn floats(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn ids(t: &Tensor) -> Vec<Vec<u32>> {
    t.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}
