//! A forward pass with and without recording, generation, and the memory of loading, beside TransformerLens and
//! transformers. Writes `docs/benchmarks-forward.md`.
//!
//! `cargo bench --bench forward`; the peers are measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has them. With `--no-default-features` nothing uses AVX-512, matrix products included, and the page
//! is `docs/benchmarks-forward-avx2.md`.

#[path = "forward/closures.rs"]
mod closures;
mod common;
#[path = "forward/loading.rs"]
mod loading;
#[path = "common/most_memory.rs"]
mod most_memory;
#[path = "common/peers.rs"]
mod peers;
#[path = "forward/products.rs"]
mod products;

use std::time::Duration;

use common::{Rows, milliseconds, publish, timed};
use microtome::base::random::stream;
use microtome::base::{Task, memory};
use microtome::model::batch::Batch;
use microtome::model::config::Config;
use microtome::model::decoder::Decoder;
use microtome::model::family;
use microtome::model::generate::Choice;
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, SiteKind, select};
use microtome::model::weights::Weights;
use microtome::tensor::{DType, create};
use peers::{Peers, rate};

const TEXTS: usize = 16;
const LENGTH: usize = 128;
const RUNS: usize = 9;
const PROMPT: usize = 32;
const GENERATED: usize = 100;

fn main() {
    memory::keep_freed();
    if loading::is_child() {
        return loading::load();
    }
    let peers = Peers::measure("forward.py", &[TEXTS, LENGTH, PROMPT, GENERATED, RUNS]);
    let mut rows = Rows::new();
    passes(&mut rows, &peers);
    closures::rows(&mut rows);
    loading::rows(&mut rows);
    let (file, level) = match cfg!(feature = "avx512") {
        true => ("benchmarks-forward.md", "With all instructions that the processor has."),
        false => ("benchmarks-forward-avx2.md", "Built without AVX-512, matrix products included; the peers have it."),
    };
    let sentences = format!(
        "{level} Times are medians of {RUNS} runs, ratios of medians of the same run. The model has the shape of Pythia-70M \
         (6 layers of 512, 8 heads, MLP of 2048, vocabulary 50304) and random weights in f32; it reads {TEXTS} texts of \
         {LENGTH} tokens, and writes {GENERATED} tokens after {PROMPT}."
    );
    publish("Benchmarks of the forward pass", "forward", file, &sentences, &rows);
}

fn model_config() -> Config {
    let json = serde_json::json!({
        "model_type": "gpt_neox", "num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8,
        "intermediate_size": 2048, "hidden_act": "gelu", "vocab_size": 50304, "max_position_embeddings": 2048,
        "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": true,
        "tie_word_embeddings": false,
    });
    family::read(&json, &[]).unwrap().config
}

fn model() -> Decoder {
    let config = model_config();
    let mut generator = stream(0, "bench", 0);
    let weights =
        Weights::build(&config, &mut |_, shape| Ok((create::randn(shape, DType::F32, &mut generator)? * 0.02)?));
    Decoder::new(config, weights.unwrap())
}

fn batch() -> Batch {
    let id = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 50_000) as u32;
    Batch::new((0..TEXTS).map(|row| (0..LENGTH).map(|column| id(row, column)).collect()).collect()).unwrap()
}

/// What TransformerLens records by default.
fn by_default(config: &Config) -> Vec<Place> {
    let not = [SiteKind::HeadOut, SiteKind::ResidMid, SiteKind::Logits];
    let sites = Site::all(config).into_iter().filter(|site| !not.contains(&site.kind));
    sites.map(|site| Place { site, head: None }).collect()
}

fn passes(rows: &mut Rows, peers: &Peers) {
    let (model, batch, task) = (model(), batch(), Task::default());
    let ask = |places: &[Place]| Ask { places: places.to_vec(), ..Ask::default() };
    let mut row = |what: &str, found: String| rows.push((what.into(), found));

    let forward = timed(|| drop(model.logits(&batch, Vec::new(), &task).unwrap()), RUNS);
    row("forward with all logits", milliseconds(forward));
    row("TransformerLens, the same", peers.against("forward", forward, milliseconds));
    row("its matrix products alone", against(products::time(6, true), forward));

    let one = select(model.config(), "resid_post.3").unwrap();
    let part = timed(|| drop(model.cache(&batch, ask(&one), &task).unwrap()), RUNS);
    row("`resid_post.3` alone", milliseconds(part));
    row("TransformerLens, stop_at_layer=4", peers.against("part", part, milliseconds));
    row("its matrix products alone", against(products::time(4, false), part));

    let all = by_default(model.config());
    let recorded = timed(|| drop(model.run(&batch, ask(&all), &task).unwrap()), RUNS);
    row(&format!("forward that records the {} sites of TransformerLens", all.len()), milliseconds(recorded));
    row("of the plain forward", format!("{:.2} times", ratio(recorded, forward)));
    row("TransformerLens, run_with_cache", peers.against("recorded", recorded, milliseconds));

    let each = generation(&model, &task);
    row("generation, one text, with cache", rate(1, each));
    row("transformers, the same", peers.against("token", each, |each| rate(1, each)));
}

fn generation(model: &Decoder, task: &Task) -> Duration {
    let prompt = Batch::new(vec![(1..=PROMPT as u32).collect()]).unwrap();
    let choice = Choice::greedy(GENERATED);
    let run = || drop(model.generate(&prompt, &choice, Vec::new(), &mut |_, _| Ok(true), task).unwrap());
    timed(run, RUNS) / GENERATED as u32
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// A time of something else, and how it compares with ours.
fn against(other: Duration, ours: Duration) -> String {
    format!("{} (ours takes {:.2} times that)", milliseconds(other), ratio(ours, other))
}
