//! A forward pass with and without recording, generation, and the memory of loading, beside TransformerLens and
//! transformers. Writes `docs/benchmarks-forward.md`.
//!
//! `cargo bench --bench forward`; the peers are measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has them. Where the CPU has no AVX-512, or with `--no-default-features`, by which nothing uses it, the page
//! is `docs/benchmarks-forward-avx2.md`.

#[path = "forward/closures.rs"]
mod closures;
mod common;
#[path = "forward/loading.rs"]
mod loading;
#[path = "forward/products.rs"]
mod products;

use std::time::Duration;

use common::turns::Turns;
use common::{BenchPage, Rows, child, milliseconds, once, rate, shapes};
use microtome::base::{Task, memory};
use microtome::model::batch::Batch;
use microtome::model::config::Config;
use microtome::model::decoder::Decoder;
use microtome::model::generate::SamplingSettings;
use microtome::model::run::Ask;
use microtome::model::site::{Place, Site, SiteKind, select};
use microtome::tensor::{DType, Device};
use products::Products;

const TEXTS: usize = 16;
const LENGTH: usize = 128;
const RUNS: usize = 9;
const PROMPT: usize = 32;
const GENERATED: usize = 100;

fn main() {
    memory::keep_freed();
    if let Some((_, folder)) = child::part() {
        return loading::load(&folder);
    }
    let numbers = [TEXTS, LENGTH, PROMPT, GENERATED].map(|number| number.to_string());
    let mut rows = Rows::new();
    passes(&mut rows, &mut Turns::start("forward.py", &numbers, &[]));
    closures::rows(&mut rows);
    loading::rows(&mut rows);
    let sentences = format!(
        "Ours and the peers' runs take turns, {RUNS} of each after one that does not count; times are medians, ratios the median and \
         the range of those of single turns. The model has the shape of Pythia-70M \
         (6 layers of 512, 8 heads, MLP of 2048, vocabulary 50304) and random weights in f32; it reads {TEXTS} texts of \
         {LENGTH} tokens, and writes {GENERATED} tokens after {PROMPT}."
    );
    BenchPage::new("Benchmarks of the forward pass", "forward", sentences).by_instructions().publish(&rows);
}

/// What TransformerLens below 4 records by default.
fn by_default(config: &Config) -> Vec<Place> {
    let not = [SiteKind::HeadOut, SiteKind::ResidMid, SiteKind::Logits];
    let sites = Site::all(config).into_iter().filter(|site| !not.contains(&site.kind));
    sites.map(|site| Place { site, head: None }).collect()
}

fn passes(rows: &mut Rows, peers: &mut Turns) {
    let model = shapes::model(DType::F32, &Device::Cpu);
    let batch = shapes::texts(TEXTS, LENGTH);
    let task = Task::default();
    let ask = |places: &[Place]| Ask { places: places.to_vec(), ..Ask::default() };
    let mut row = |what: &str, found: String| rows.push((what.into(), found));

    let mut plain = || drop(model.logits(&batch, Vec::new(), &task).unwrap());

    let mut products = Products::new(6, true);
    let found = peers.timed_beside(&["forward".into()], RUNS, &mut || products.compute(), &mut plain);
    row("forward with all logits", milliseconds(found.ours()));
    row("TransformerLens, the same", found.against("forward", milliseconds));
    row("its matrix products alone", found.against_other());

    let one = select(model.config(), "resid_post.3").unwrap();
    let mut products = Products::new(4, false);
    let mut record_one = || drop(model.cache(&batch, ask(&one), &task).unwrap());
    let found = peers.timed_beside(&["stopped".into()], RUNS, &mut || products.compute(), &mut record_one);
    row("`resid_post.3` alone", milliseconds(found.ours()));
    row("TransformerLens, stop_at_layer=4", found.against("stopped", milliseconds));
    row("its matrix products alone", found.against_other());

    let all = by_default(model.config());
    let mut record_all = || drop(model.run(&batch, ask(&all), &task).unwrap());
    let found = peers.timed_beside(&["recorded".into()], RUNS, &mut plain, &mut record_all);
    row(&format!("forward that records {} sites", all.len()), milliseconds(found.ours()));
    row("the plain forward beside it", found.against_other());
    row(
        "TransformerLens, run_with_cache of the 99 of them that its bridge has",
        found.against("recorded", milliseconds),
    );

    let found = peers.timed(&["token".into()], RUNS, || generation(&model, &task));
    row("generation, one text, with cache", rate(1, found.ours()));
    row("transformers, the same", found.against("token", |each| rate(1, each)));
}

/// The time of a token.
fn generation(model: &Decoder, task: &Task) -> Duration {
    let prompt = Batch::new(vec![(1..=PROMPT as u32).collect()]).unwrap();
    let choice = SamplingSettings::greedy(GENERATED);
    let run = || drop(model.generate(&prompt, &choice, Vec::new(), &mut |_, _| Ok(true), task).unwrap());
    once(run) / GENERATED as u32
}
