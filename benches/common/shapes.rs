//! The shape of Pythia-70M, with random weights.

use microtome::base::random::stream;
use microtome::checkpoint::family;
use microtome::model::batch::Batch;
use microtome::model::config::Config;
use microtome::model::decoder::Decoder;
use microtome::model::weights::Weights;
use microtome::tensor::{DType, Device, create};

/// The shape as a map of a script; behind its `#` stands the config.json.
pub const PYTHIA: &str = r#"#{
    "model_type": "gpt_neox", "num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8,
    "intermediate_size": 2048, "hidden_act": "gelu", "vocab_size": 50304, "max_position_embeddings": 2048,
    "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": true,
    "tie_word_embeddings": false
}"#;

pub fn pythia() -> Config {
    let json = serde_json::from_str(PYTHIA.trim_start_matches('#')).unwrap();
    family::read(&json, &[]).unwrap().config
}

pub fn model(dtype: DType, there: &Device) -> Decoder {
    let config = pythia();
    let mut generator = stream(0, "bench", 0);
    let mut weight = |_: &str, shape: &[usize]| {
        let weight = (create::randn(shape, DType::F32, &mut generator)? * 0.02)?;
        Ok(weight.to_dtype(dtype)?.to_device(there)?)
    };
    let weights = Weights::build(&config, &mut weight).unwrap();
    Decoder::new(config, weights)
}

/// Texts of token ids below 50,000.
pub fn texts(count: usize, length: usize) -> Batch {
    let id = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 50_000) as u32;
    Batch::new((0..count).map(|row| (0..length).map(|column| id(row, column)).collect()).collect()).unwrap()
}
