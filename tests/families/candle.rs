//! candle-transformers as a second oracle, for the families that it has.

use candle_nn::VarBuilder;
use candle_transformers::models::{gemma, gemma2, gemma3, llama, mistral, olmo2, phi, phi3, qwen2, qwen3, stable_lm};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::distance;
use super::files::{config_json, expected, files, fixture, ids, load, tensors};
use microtome::base::Task;
use microtome::model::batch::Batch;
use microtome::model::load::Loading;
use microtome::tensor::{DType, Device, Tensor};

/// The config of a family with the keys that candle knows.
fn config<C: DeserializeOwned>(family: &str) -> C {
    let mut config = config_json(family);
    let rope = config["rope_parameters"].clone();
    let whole = if family == "gemma3_text" { &rope["full_attention"] } else { &rope };
    config["rope_theta"] = whole["rope_theta"].clone();
    match family {
        "gemma3_text" => {
            config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"].clone();
            config["sliding_window_pattern"] = json!(6);
        }
        "llama3_rope" => config["rope_scaling"] = rope.clone(),
        "phi" | "phi3" | "stablelm" => config["partial_rotary_factor"] = rope["partial_rotary_factor"].clone(),
        "qwen2" => config["sliding_window"] = json!(128),
        _ => {}
    }
    serde_json::from_value(config).unwrap_or_else(|e| panic!("{family}: {e}"))
}

fn weights(family: &str) -> VarBuilder<'static> {
    let all = tensors(&fixture(family).join("model.safetensors"));
    VarBuilder::from_tensors(all.into_iter().collect(), DType::F32, &Device::Cpu)
}

/// The logits after the last token, as candle computes them.
fn theirs(family: &str, x: &Tensor) -> candle_core::Result<Tensor> {
    let vb = weights(family);
    match family {
        "llama" | "llama3_rope" => {
            let config = config::<llama::LlamaConfig>(family).into_config(false);
            let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu)?;
            llama::Llama::load(vb, &config)?.forward(x, 0, &mut cache)
        }
        "mistral" => mistral::Model::new(&config(family), vb)?.forward(x, 0),
        "qwen2" => qwen2::ModelForCausalLM::new(&config(family), vb)?.forward(x, 0),
        "qwen3" => qwen3::ModelForCausalLM::new(&config(family), vb)?.forward(x, 0),
        "gemma" => gemma::Model::new(false, &config(family), vb)?.forward(x, 0),
        "gemma2" => gemma2::Model::new(false, &config(family), vb)?.forward(x, 0),
        "gemma3_text" => gemma3::Model::new(false, &config(family), vb)?.forward(x, 0),
        "phi" => phi::Model::new(&config(family), vb)?.forward(x),
        "phi3" => phi3::Model::new(&config(family), vb)?.forward(x, 0),
        "olmo2" => olmo2::Model::new(&config(family), vb)?.forward(x, 0),
        "stablelm" => stable_lm::Model::new(&config(family), vb)?.forward(x, 0),
        other => panic!("candle has no {other}"),
    }
}

/// candle's windows differ from transformers' (gemma 2 has none), so texts stay within them.
const WINDOW: usize = 8;

#[test]
fn logits_are_those_of_candle() {
    for family in [
        "llama",
        "llama3_rope",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3_text",
        "phi",
        "phi3",
        "olmo2",
        "stablelm",
    ] {
        let decoder = load(&files(), &fixture(family), &Loading::default());
        for mut row in ids(&expected(family)["input_ids"]) {
            if !decoder.config().windows.is_empty() {
                row.truncate(WINDOW);
            }
            let x = Tensor::new(vec![row.clone()], &Device::Cpu).unwrap();
            let theirs = theirs(family, &x).unwrap().flatten_all().unwrap();
            let ours = decoder.logits(&Batch::new(vec![row.clone()]).unwrap(), Vec::new(), &Task::default()).unwrap();
            let last = ours.get(0).unwrap().get(row.len() - 1).unwrap();
            let off = distance(&last, &theirs);
            assert!(off < 1e-4, "{family} is off by {off}");
        }
    }
}
