//! One step of training, with the times of its parts.

use std::time::{Duration, Instant};

use candle_core::Var;
use microtome::base::random::stream;
use microtome::base::{Result, Task};
use microtome::model::batch::Batch;
use microtome::model::config::Config;
use microtome::model::decoder::{Decoder, Logits, Pass};
use microtome::model::family;
use microtome::model::hooks::{At, Hooks};
use microtome::model::site::{Kind, Site};
use microtome::model::weights::Weights;
use microtome::tensor::kernels::{AdamW, Taped, adamw_step, cross_entropy, global_norm};
use microtome::tensor::{DType, Tensor, create};

use super::common::median;

const VOCAB: usize = 4096;

pub struct Trainer {
    decoder: Decoder,
    variables: Vec<[Var; 3]>,
    batch: Batch,
    targets: Vec<u32>,
    steps: i32,
    times: [Vec<Duration>; 3],
}

/// Takes what the last norm gives.
struct ToTheLastNorm(Option<Tensor>);

impl Hooks for ToTheLastNorm {
    fn wants(&self, site: Site) -> bool {
        site.kind == Kind::FinalNorm
    }

    fn on(&mut self, _: &At, x: &Tensor) -> Result<Option<Tensor>> {
        self.0 = Some(x.clone());
        Ok(None)
    }

    fn last(&self) -> Option<Site> {
        Some(Site::new(Kind::FinalNorm, 0))
    }
}

impl Trainer {
    pub fn new(texts: usize, length: usize) -> Self {
        let config = config();
        let (mut generator, mut variables) = (stream(0, "bench", 0), Vec::new());
        let weights = Weights::build(&config, &mut |_, shape| {
            let start = (create::randn(shape, DType::F32, &mut generator)? * 0.02)?;
            let weight = Var::from_tensor(&start)?;
            let zeros = || Var::zeros(shape, DType::F32, start.device());
            variables.push([weight.clone(), zeros()?, zeros()?]);
            Ok(weight.as_tensor().clone())
        });
        let decoder = Decoder::new(config, weights.unwrap());
        let id = |row: usize, column: usize| ((row * 7919 + column * 104_729) % VOCAB) as u32;
        let rows = |from: usize| (0..texts).map(move |row| (from..from + length).map(move |c| id(row, c)).collect());
        let targets = rows(1).flat_map(|row: Vec<u32>| row).collect();
        let batch = Batch::new(rows(0).collect()).unwrap();
        Self { decoder, variables, batch, targets, steps: 0, times: Default::default() }
    }

    pub fn step(&mut self) {
        let begin = Instant::now();
        let taped = Taped::of(|| self.loss()).unwrap();
        let forward = begin.elapsed();
        let gradients = taped.backward().unwrap();
        let backward = begin.elapsed();
        let all: Vec<&Tensor> = self.variables.iter().map(|[weight, ..]| gradients.get(weight).unwrap()).collect();
        let shrink = (1.0 / global_norm(all.iter().copied()).unwrap()).min(1.0);
        self.steps += 1;
        let betas = [0.9, 0.95];
        let begun = betas.map(|beta: f64| 1.0 - beta.powi(self.steps));
        for ([weight, mean, square], gradient) in self.variables.iter().zip(all) {
            let decay = if weight.rank() > 1 { 0.1 } else { 0.0 };
            let settings = AdamW { rate: 1e-3, betas, eps: 1e-8, decay, shrink, begun };
            adamw_step(weight, gradient, [mean, square], settings).unwrap();
        }
        let ends = [forward, backward, begin.elapsed()];
        let begins = [Duration::ZERO, forward, backward];
        for (times, (end, begin)) in self.times.iter_mut().zip(ends.into_iter().zip(begins)) {
            times.push(end - begin);
        }
    }

    fn loss(&self) -> Result<Tensor> {
        let (mut hooks, task) = (ToTheLastNorm(None), Task::default());
        self.decoder.forward(&self.batch, Pass { hooks: &mut hooks, past: None, logits: Logits::All, task: &task })?;
        let (x, unembed) = (hooks.0.unwrap(), &self.decoder.weights().unembed);
        let counts = vec![1.0 / self.targets.len() as f32; self.targets.len()];
        cross_entropy(&x, &unembed.weight, unembed.bias.as_ref(), &self.targets, &counts)
    }

    /// The median times of the parts of all steps.
    pub fn parts(self) -> impl Iterator<Item = (&'static str, Duration)> {
        ["forward with the loss", "backward", "clipping and AdamW"].into_iter().zip(self.times.map(median))
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
