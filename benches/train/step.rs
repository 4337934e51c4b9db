//! One step of the trainer, on fixed rows.

use microtome::base::Task;
use microtome::base::random::stream;
use microtome::checkpoint::family;
use microtome::model::config::Config;
use microtome::model::init::init;
use microtome::model::train::{Examples, Recipe, TrainingState};
use microtome::tensor::{DType, Device};

const VOCAB: usize = 4096;

pub struct Trainer {
    state: TrainingState,
    recipe: Recipe,
    examples: [Examples; 1],
}

impl Trainer {
    pub fn new(device: &Device, texts: usize, length: usize) -> Self {
        let config = config();
        let weights = init(&config, &mut stream(0, "bench", 0), DType::F32, device, &Task::default()).unwrap();
        let state = TrainingState::new(&config, &mut |name| weights.get(&config, name)).unwrap();
        let id = |row: usize, column: usize| ((row * 7919 + column * 104_729) % VOCAB) as u32;
        let rows: Vec<Vec<u32>> = (0..texts).map(|row| (0..=length).map(|column| id(row, column)).collect()).collect();
        Self { state, recipe: Recipe::default(), examples: [Examples::next_tokens(&rows)] }
    }

    /// Forward, backward, clipping and AdamW.
    pub fn step(&mut self) {
        self.state.advance(&self.examples, &self.recipe, &Task::default()).unwrap();
    }
}

fn config() -> Config {
    let json = serde_json::json!({
        "model_type": "gpt_neox", "num_hidden_layers": 6, "hidden_size": 192, "num_attention_heads": 6,
        "intermediate_size": 768, "hidden_act": "gelu", "vocab_size": VOCAB, "max_position_embeddings": 256,
        "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": true,
        "tie_word_embeddings": true,
    });
    family::read(&json, &[]).unwrap().config
}
