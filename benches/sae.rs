//! Steps of fitting dictionaries, sweeps, encoding, and maps, beside those of Python libraries; and the effects of screening and of
//! products of bf16.
//! Writes `docs/benchmarks-sae.md`.
//!
//! `cargo bench --bench sae`; the libraries are measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has dictionary-learning, sae-lens, eai-sparsify and umap-learn. Where the CPU has no AVX-512, or with
//! `--no-default-features`, by which nothing uses it, the page is `docs/benchmarks-sae-avx2.md`.

mod common;
#[path = "sae/encode.rs"]
mod encode;
#[path = "sae/real.rs"]
mod real;
#[path = "sae/recipe.rs"]
mod recipe;
#[path = "sae/step.rs"]
mod step;

use std::time::Duration;

use common::peers::Peers;
use common::turns::Turns;
use common::{BenchPage, Rows, anywhere, eval, in_session, milliseconds, once, rate, seconds, timed};
use microtome::base::memory;
use microtome::sae::fit::{EncoderProducts, FitBatch};
use step::{CrossLayerFit, Fit, LAYER_WIDTH, LAYERS};

const RUNS: usize = 7;
const D: usize = 512;
/// Codes of a row, for kinds that fix their number.
const K: usize = 32;
/// Codes of a row, for kinds whose penalty determines their number.
const L0: usize = 50;
const ROWS: usize = 4096;
const WIDTHS: [usize; 2] = [4096, 16_384];
/// Dictionaries of a sweep.
const SWEEP: u32 = 16;
/// Each kind, and the peers that implement it.
const KINDS: [(&str, &[&str]); 5] = [
    ("topk", &["dictionary_learning_topk", "sae_lens_topk", "sparsify_topk"]),
    ("batch_topk", &["dictionary_learning_batch_topk"]),
    ("relu", &["dictionary_learning_relu", "sae_lens_relu"]),
    ("tied", &["dictionary_learning_relu", "sae_lens_relu"]),
    ("jumprelu", &["dictionary_learning_jumprelu"]),
];
const ENCODERS: [&str; 3] = ["dictionary_learning_encode", "sae_lens_encode", "sparsify_encode"];
/// Passes over all weights of a map.
const EPOCHS: usize = 300;
/// Shares of codes above 0, around the one from which on dense products are faster.
const SHARES: [f64; 5] = [0.03, 0.06, 0.1, 0.2, 0.5];

fn main() {
    memory::keep_freed();
    let mut rows = Rows::new();
    real::rows(&mut rows);
    let numbers = [1, D, K, ROWS].map(|number| number.to_string());
    let mut peers = Turns::start("sae.py", &numbers, &[]);
    let batches = step::batches();
    for features in WIDTHS {
        steps(&mut rows, &mut peers, features, &batches);
    }
    rounded(&mut rows, &batches);
    sweep(&mut rows, &mut peers, &batches);
    cross_layer(&mut rows);
    shares(&mut rows, &batches);
    map(&mut rows);
    let sentences = format!(
        "Ours and the libraries' steps take turns, {RUNS} of each after one that does not count (three of a sweep); times are medians, \
         ratios the median and the range of those of single turns. Activations are {D} wide and random, a batch has {ROWS} rows, everything is f32; a step is whole: codes, gradients \
         of all weights, clipping, Adam, directions at length 1, and the count of dead features (none is dead). `topk` and \
         `batch_topk` take {K} codes a row; the biases of the others leave about {L0}, which changes nothing for the \
         libraries. The map is of {} random directions, by cosine, with 15 neighbours and {EPOCHS} epochs; umap-learn \
         begins, as ours does, with principal components. {}",
        WIDTHS[0],
        real::SENTENCE
    );
    BenchPage::new("Benchmarks of dictionaries", "sae", sentences).by_instructions().publish(&rows);
}

/// Steps of each kind, and codes.
fn steps(rows: &mut Rows, peers: &mut Turns, features: usize, batches: &[FitBatch]) {
    let tokens = |time: Duration| rate(ROWS, time);
    for (kind, theirs) in KINDS {
        let mut fit = Fit::new(kind, features);
        let names = with_features(theirs, features);
        let found = peers.timed(&names, RUNS, || once(|| fit.step(batches)));
        rows.push((format!("`{kind}`, {features} features"), told(found.ours(), &fit)));
        for (peer, name) in theirs.iter().zip(&names) {
            rows.push((format!("{peer}, the same"), found.against(name, tokens)));
        }
    }
    let mut dense = Fit::of_share(features, 0.5);
    let step = timed(|| dense.step(batches), 3);
    rows.push((format!("`relu`, {features} features, half of them firing"), told(step, &dense)));
    let sae = encode::dictionary(features);
    let names = with_features(&ENCODERS, features);
    let found = peers.timed(&names, RUNS, || once(|| encode::encode(&sae, &batches[0].x)));
    rows.push((format!("codes of a `topk` dictionary, {features} features"), told_time(found.ours())));
    for (peer, name) in ENCODERS.iter().zip(&names) {
        rows.push((format!("{peer}, the same"), found.against(name, tokens)));
    }
}

/// The names by which the libraries' works of this width are asked for.
fn with_features(names: &[&str], features: usize) -> Vec<String> {
    names.iter().map(|name| format!("{name}_{features}")).collect()
}

/// Steps whose encoder multiplies numbers rounded to bf16, beside the same in f32: of few codes, which are screened; of so many that
/// all scores are computed; of half of all, in candle's operations; and of features that are all dead.
fn rounded(rows: &mut Rows, batches: &[FitBatch]) {
    let mut add = |what: String, make: &dyn Fn() -> Fit| {
        let [plain, rounded] = [EncoderProducts::F32, EncoderProducts::Bf16].map(|compute| {
            let mut fit = make().by(compute);
            timed(|| fit.step(batches), 3)
        });
        let ratio = plain.as_secs_f64() / rounded.as_secs_f64();
        let found = format!("{}; {ratio:.2} times as fast as in f32, {}", milliseconds(rounded), milliseconds(plain));
        rows.push((format!("{what}, by products of bf16"), found));
    };
    for features in WIDTHS {
        for (kind, _) in KINDS {
            add(format!("`{kind}`, {features} features"), &|| Fit::new(kind, features));
        }
        for (words, share) in [("a sixth", 1.0 / 6.0), ("half", 0.5)] {
            add(format!("`relu`, {features} features, {words} of them firing"), &|| Fit::of_share(features, share));
        }
        add(format!("`topk`, {features} features, all of them dead"), &|| Fit::of_dead("topk", features));
    }
}

/// Sixteen dictionaries that read the same rows; a library fits them one after the other.
fn sweep(rows: &mut Rows, peers: &mut Turns, batches: &[FitBatch]) {
    let features = WIDTHS[0];
    let mut fits: Vec<Fit> = (0..SWEEP.into()).map(|seed| Fit::of_sweep("topk", features, seed)).collect();
    let names = with_features(KINDS[0].1, features);
    let found = peers.timed(&names, 3, || once(|| fits.iter_mut().for_each(|fit| fit.step(batches))) / SWEEP);
    let all = |each: Duration| milliseconds(each * SWEEP);
    rows.push((format!("a step of each of {SWEEP} `topk` dictionaries, {features} features"), all(found.ours())));
    for (peer, name) in KINDS[0].1.iter().zip(&names) {
        rows.push((format!("{peer}, {SWEEP} steps"), found.against(name, all)));
    }
}

/// A step of a cross-layer transcoder by the loops for sparse codes, and by dense products.
fn cross_layer(rows: &mut Rows) {
    let features = 2048;
    let batch = 1024;
    for kind in ["topk", "batch_topk"] {
        let mut fit = CrossLayerFit::new(kind, features, batch);
        let sparsely = timed(|| fit.step(), 3);
        let densely = timed(|| fit.step_densely(), 3);
        let ratio = densely.as_secs_f64() / sparsely.as_secs_f64();
        let found = format!(
            "{} ({}); by dense products {}, {ratio:.1} times as long",
            rate(batch, sparsely),
            milliseconds(sparsely),
            milliseconds(densely)
        );
        let what = format!(
            "cross-layer `{kind}`, {LAYERS} layers of width {LAYER_WIDTH} with {features} features each, {batch} rows"
        );
        rows.push((what, found));
    }
}

/// From which share of codes on dense products are faster.
fn shares(rows: &mut Rows, batches: &[FitBatch]) {
    let features = WIDTHS[0];
    for share in SHARES {
        let mut sparse = Fit::of_share(features, share);
        let mut dense = Fit::of_share(features, share);
        let sparsely = timed(|| sparse.step_sparsely(batches), 3);
        let densely = timed(|| dense.step_densely(batches), 3);
        let found = format!("sparse {}, dense {}", milliseconds(sparsely), milliseconds(densely));
        rows.push((format!("`relu`, {features} features, {:.0} % firing", 100.0 * share), found));
    }
}

/// A map of directions by UMAP.
fn map(rows: &mut Rows) {
    let features = WIDTHS[0];
    let prepare = format!("let directions = tensor::randn([{features}, {D}], #{{ seed: 0 }});");
    let call = format!("sae::map(directions, #{{ neighbours: 15, epochs: {EPOCHS} }})");
    let time = in_session(&anywhere(), move |session| {
        eval(session, &prepare);
        timed(|| eval(session, &call), 3)
    });
    let peers = Peers::measure("map.py", &[features, D, EPOCHS]);
    rows.push((format!("a map of {features} directions"), seconds(time)));
    rows.push(("umap-learn, the same".into(), peers.against("map", time, seconds)));
}

fn told(step: Duration, fit: &Fit) -> String {
    format!("{} ({}, L0 {:.0})", rate(ROWS, step), milliseconds(step), fit.l0())
}

fn told_time(time: Duration) -> String {
    format!("{} ({})", rate(ROWS, time), milliseconds(time))
}
