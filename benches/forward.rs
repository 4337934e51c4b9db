//! A forward pass with and without recording, generation and loading, beside TransformerLens and transformers. Writes
//! `docs/benchmarks-forward.md`.
//!
//! `cargo bench --bench forward`; the peers are measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter with torch, transformer_lens and transformers. With `--no-default-features` everything, matrix products
//! included, does without AVX-512.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Rows, median, milliseconds, publish, timed};
use gemm::Parallelism;
use microtome::base::Task;
use microtome::base::random::stream;
use microtome::model::batch::Batch;
use microtome::model::config::Config;
use microtome::model::decoder::{Decoder, Logits, Pass};
use microtome::model::family;
use microtome::model::generate::Choice;
use microtome::model::hooks::NoHooks;
use microtome::model::run::Ask;
use microtome::model::site::{Kind, Place, Site, select};
use microtome::model::weights::Weights;
use microtome::tensor::{DType, create};

const TEXTS: usize = 16;
const LENGTH: usize = 128;
const RUNS: usize = 15;

fn main() {
    let model = model();
    if let Ok(only) = std::env::var("BENCH_ONLY") {
        let (batch, task) = (batch(), Task::default());
        let places = match only.as_str() {
            "part" => select(model.config(), "resid_post.3").unwrap(),
            "all" => recorded(model.config()),
            _ => vec![],
        };
        let begin = Instant::now();
        for _ in 0..30 {
            match only.as_str() {
                "part" => drop(model.cache(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap()),
                "products" => drop(products_time(4, false)),
                "generate" => drop(generate(&model)),
                _ => drop(model.run(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap()),
            }
        }
        println!("{:?}", begin.elapsed() / 30);
        return;
    }
    let mut rows = Rows::new();
    let ours = ours(&model);
    for (name, time) in &ours {
        println!("{name}: {}", milliseconds(*time));
    }
    drop(rows);
}

/// Pythia-70M with weights of its size, drawn at random.
fn model() -> Decoder {
    let json = serde_json::json!({
        "model_type": "gpt_neox", "num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8,
        "intermediate_size": 2048, "hidden_act": "gelu", "vocab_size": 50304, "max_position_embeddings": 2048,
        "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": true,
        "tie_word_embeddings": false,
    });
    let config = family::read(&json, &[]).unwrap().config;
    let mut generator = stream(0, "bench", 0);
    let weights =
        Weights::build(&config, &mut |_, shape| Ok((create::randn(shape, DType::F32, &mut generator)? * 0.02)?));
    Decoder::new(config, weights.unwrap())
}

fn batch() -> Batch {
    let id = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 50_000) as u32;
    Batch::new((0..TEXTS).map(|row| (0..LENGTH).map(|column| id(row, column)).collect()).collect()).unwrap()
}

fn ours(model: &Decoder) -> BTreeMap<&'static str, Duration> {
    let (batch, task) = (batch(), Task::default());
    let forward = timed(|| drop(model.logits(&batch, Vec::new(), &task).unwrap()), RUNS);
    let places = recorded(model.config());
    let all = timed(|| drop(model.run(&batch, Ask { places: places.clone(), ..Ask::default() }, &task).unwrap()), RUNS);
    let one = select(model.config(), "resid_post.3").unwrap();
    let part = timed(|| drop(model.cache(&batch, Ask { places: one.clone(), ..Ask::default() }, &task).unwrap()), RUNS);
    let products = products(4, false);
    let all_products = products_time(6, true);
    BTreeMap::from([
        ("forward", forward),
        ("recorded", all),
        ("resid_post.3", part),
        ("products", products),
        ("all products", all_products),
        ("generate", generate(model)),
    ])
}

fn products(layers: usize, logits: bool) -> Duration {
    products_time(layers, logits)
}

/// What TransformerLens records by default.
fn recorded(config: &Config) -> Vec<Place> {
    let not = [Kind::HeadOut, Kind::ResidMid, Kind::Logits];
    let sites = Site::all(config).into_iter().filter(|site| !not.contains(&site.kind));
    sites.map(|site| Place { site, head: None }).collect()
}

/// The matrix products of so many blocks, attention included, into memory that is there already.
fn products_time(layers: usize, logits: bool) -> Duration {
    let rows = TEXTS * LENGTH;
    let mut shapes = vec![[rows, 512, 1536], [rows, 512, 512], [rows, 512, 2048], [rows, 2048, 512]].repeat(layers);
    let heads = [vec![[LENGTH, 64, LENGTH]; TEXTS * 8], vec![[LENGTH, LENGTH, 64]; TEXTS * 8]].concat().repeat(layers);
    shapes.extend(logits.then_some([rows, 512, 50304]));
    let most = |of: fn(&[usize; 3]) -> usize| shapes.iter().map(of).max().unwrap();
    let x = vec![0.5; most(|[m, k, _]| m * k)];
    let weights = vec![0.5; most(|[_, k, n]| k * n)];
    let mut y = vec![0.0; most(|[m, _, n]| m * n)];
    timed(
        || {
            for shape in &shapes {
                multiply(*shape, &x, &weights, &mut y, Parallelism::Rayon(0));
            }
            let head = |y: &mut [f32], shape: &[usize; 3]| multiply(*shape, &x, &weights, y, Parallelism::None);
            use rayon::prelude::*;
            heads.par_iter().zip(y.par_chunks_mut(LENGTH * LENGTH)).for_each(|(shape, y)| head(y, shape));
        },
        RUNS,
    )
}

fn multiply([m, k, n]: [usize; 3], x: &[f32], weights: &[f32], y: &mut [f32], threads: Parallelism) {
    assert!(x.len() >= m * k && weights.len() >= k * n && y.len() >= m * n);
    let (k_step, n_step) = (k as isize, n as isize);
    // SAFETY: the slices are as large as the sizes say.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n_step,
            false,
            x.as_ptr(),
            1,
            k_step,
            weights.as_ptr(),
            k_step,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

fn generate(model: &Decoder) -> Duration {
    let prompt = Batch::new(vec![(1..33).collect()]).unwrap();
    let choice = Choice {
        tokens: 100,
        temperature: 0.0,
        top_k: None,
        top_p: None,
        repetition_penalty: 1.0,
        seed: 0,
        stops: vec![],
        windowed: false,
    };
    timed(|| drop(model.generate(&prompt, &choice, Vec::new(), &mut |_, _| Ok(true), &Task::default()).unwrap()), 3)
        / 100
}
