//! Made-up models of quantised weights on a small machine: 1.5 billion in Q4_K, and fewer in Q8_0. Loading, generation and reading
//! with exact products and with those of integers, beside llama.cpp and the memory's bandwidth, and an experiment in 4 GiB. Writes
//! `docs/benchmarks-quantised.md`.
//!
//! `cargo bench --bench quantised`, on Linux; it needs 2 GiB of disk in the folder of temporary files. The peer is measured
//! in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter that has llama-cpp-python. The experiment runs in
//! a separate process: this program again, with a role, under the system's own limit.

#[path = "quantised/bandwidth.rs"]
mod bandwidth;
mod common;
#[path = "quantised/made.rs"]
mod made;

use std::path::Path;
use std::time::{Duration, Instant};

use common::child::{self, limited};
use common::peers::Peers;
use common::{BenchPage, Rows, human, milliseconds, rate, timed};
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::random::stream;
use microtome::base::{Task, memory};
use microtome::checkpoint::family;
use microtome::checkpoint::load::{LoadOptions, Products};
use microtome::model::Model;
use microtome::model::batch::Batch;
use microtome::model::decoder::Decoder;
use microtome::model::generate::SamplingSettings;
use microtome::model::weights::Weights;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::tensor::{DType, Device, create};

const FILE: &str = "made.gguf";
const LAYERS: usize = 28;
/// The file in Q8_0, and its layers: a token reads about as many bytes.
const Q8_FILE: &str = "made-q8.gguf";
const Q8_LAYERS: usize = 14;
const PROMPT: usize = 32;
const GENERATED: usize = 32;
const READ: usize = 256;
const RUNS: usize = 5;
/// What a process of 4 GiB has beside the pages of the file.
const ALLOWED: u64 = 3 << 30;
/// Tokens whose activations the experiment gathers.
const TOKENS: usize = 4096;

fn main() {
    if let Some((_, folder)) = child::part() {
        return println!("{}", experiment(&folder));
    }
    memory::keep_freed();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(FILE);
    let weights = made::write(&place, made::Q4_K, LAYERS);
    let size = std::fs::metadata(&place).unwrap().len();
    let mut rows = Rows::new();
    let mut row = |what: &str, found: String| rows.push((what.into(), found));
    row("the file", format!("{} for {:.2} billion weights", human(size), weights as f64 / 1e9));

    let bandwidth = bandwidth::bandwidth();
    row("the memory, read by all threads", bandwidth::written(bandwidth));
    let peers = theirs(&place);
    let begin = Instant::now();
    let model = loaded(folder.path(), FILE, Products::F32);
    row("loading it", milliseconds(begin.elapsed()));
    let decoder = &model.decoder;
    let task = Task::default();
    let each = token(decoder, &task);
    row(&format!("generation after {PROMPT} tokens, with cache"), rate_of_one(each));
    row("llama.cpp by its Python binding, the same file", peers.against("token", each, rate_of_one));
    let read = reading(decoder, &task);
    row(&format!("reading {READ} tokens, the last logits"), rate(READ, read));
    row("llama.cpp, the same", peers.against("read", read, |time| rate(READ, time)));
    drop(model);
    integers(&mut row, folder.path(), [FILE, "Q4_K"], &peers, bandwidth);

    let place = folder.path().join(Q8_FILE);
    made::write(&place, made::Q8_0, Q8_LAYERS);
    let peers = theirs(&place);
    let model = loaded(folder.path(), Q8_FILE, Products::F32);
    row("generation in Q8_0", rate_of_one(token(&model.decoder, &task)));
    row(&format!("reading {READ} tokens in Q8_0, the last logits"), rate(READ, reading(&model.decoder, &task)));
    drop(model);
    integers(&mut row, folder.path(), [Q8_FILE, "Q8_0"], &peers, bandwidth);
    std::fs::remove_file(&place).unwrap();

    halves(&mut row, &task);

    let found = limited("laptop", folder.path(), ALLOWED);
    row(&format!("the experiment where {} of its own are allowed", human(ALLOWED)), found.said);
    row("peak memory of its own", human(found.most.own));
    row("peak memory, pages of the file included", human(found.most.all));
    assert!(found.most.all < size + (1 << 30) + ALLOWED);
    let sentences = format!(
        "The file is made by the benchmark: a llama with the sizes of Qwen2.5-1.5B and random blocks, the embedding in Q6_K and \
         all other matrices in Q4_K. That in Q8_0 has {Q8_LAYERS} of its layers. Products of int8 round what they read, as llama.cpp's \
         do; a token's share of the memory's bandwidth is that of all blocks of the model, each read once; above 1 it reads them \
         faster than the loop of sums, run once at the beginning, by which the bandwidth is measured. The model in other dtypes has \
         {HALVES_LAYERS} of its layers and its embedding. Times are medians of {RUNS} runs, ratios of medians of the same run. The \
         experiment loads it, adds a direction at `resid_post.10`, gathers {TOKENS} rows of `resid_post.13` and fits a top-k dictionary of 4,096 \
         features to them. The limit is the system's (`ulimit -d`): all memory that the process may write to counts, the mapped \
         file does not."
    );
    BenchPage::new("Quantised weights on a small machine", "quantised", sentences).publish(&rows);
}

/// Layers of the model that is computed in other dtypes.
const HALVES_LAYERS: usize = 4;

/// Generation and reading by the same weights in f32, bf16 and f16.
fn halves(row: &mut impl FnMut(&str, String), task: &Task) {
    let json = serde_json::json!({
        "model_type": "llama", "num_hidden_layers": HALVES_LAYERS, "hidden_size": made::D_MODEL, "num_attention_heads": 12,
        "num_key_value_heads": 2, "intermediate_size": made::D_MLP, "hidden_act": "silu", "vocab_size": made::VOCAB,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": true,
    });
    let config = family::read(&json, &[]).unwrap().config;
    let mut plain = None;
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let mut random = stream(2, "weights", 0);
        let mut drawn =
            |_: &str, shape: &[usize]| Ok((create::randn(shape, DType::F32, &mut random)? * 0.02)?.to_dtype(dtype)?);
        let weights = Weights::build(&config, &mut drawn).unwrap();
        let model = Decoder::new(config.clone(), weights);
        let each = token(&model, task);
        let read = reading(&model, task);
        let (each_plain, read_plain) = *plain.get_or_insert((each, read));
        let times = |plain: Duration, now: Duration| plain.as_secs_f64() / now.as_secs_f64();
        let name = dtype.as_str();
        row(
            &format!("generation in {name}"),
            format!("{} ({:.2} times f32)", rate_of_one(each), times(each_plain, each)),
        );
        row(
            &format!("reading {READ} tokens in {name}, the last logits"),
            format!("{} ({:.2} times f32)", rate(READ, read), times(read_plain, read)),
        );
    }
}

/// Generation and reading by products of integers, beside llama.cpp on the same file.
fn integers(row: &mut impl FnMut(&str, String), folder: &Path, [file, kind]: [&str; 2], peers: &Peers, bandwidth: f64) {
    let model = loaded(folder, file, Products::Int8);
    let task = Task::default();
    let each = token(&model.decoder, &task);
    let share = bandwidth::share(&model.decoder, each, bandwidth);
    row(
        &format!("generation in {kind} by products of int8"),
        format!("{} ({share:.2} of the memory's bandwidth)", rate_of_one(each)),
    );
    row(&format!("llama.cpp, generation in {kind}"), peers.against("token", each, rate_of_one));
    let read = reading(&model.decoder, &task);
    row(&format!("reading {READ} tokens in {kind} by products of int8, the last logits"), rate(READ, read));
    row(&format!("llama.cpp, reading in {kind}"), peers.against("read", read, |time| rate(READ, time)));
}

/// What llama.cpp takes for a file.
fn theirs(place: &Path) -> Peers {
    let numbers = [PROMPT, GENERATED, READ, RUNS].map(|number| number.to_string());
    Peers::run("quantised.py", &[&[place.display().to_string()], numbers.as_slice()].concat())
}

fn rate_of_one(time: Duration) -> String {
    format!("{:.2} tokens a second", 1.0 / time.as_secs_f64())
}

fn loaded(folder: &Path, file: &str, compute: Products) -> Model {
    let files = Files::new(Access::new(folder, &Rules::default()).unwrap(), false);
    let loading = LoadOptions { compute, ..LoadOptions::default() }.onto(Device::Cpu);
    Model::load(&files, folder.join(file).to_str().unwrap(), &loading, &Task::default()).unwrap()
}

/// The time of one token, with that of the prompt taken off.
fn token(model: &Decoder, task: &Task) -> Duration {
    let prompt = Batch::new(vec![(1..=PROMPT as u32).collect()]).unwrap();
    let of = |tokens: usize| {
        let write = || {
            drop(
                model
                    .generate(&prompt, &SamplingSettings::greedy(tokens), Vec::new(), &mut |_, _| Ok(true), task)
                    .unwrap(),
            )
        };
        timed(write, RUNS)
    };
    (of(GENERATED + 1) - of(1)) / GENERATED as u32
}

fn reading(model: &Decoder, task: &Task) -> Duration {
    let text = Batch::new(vec![(1..=READ as u32).collect()]).unwrap();
    timed(|| drop(model.logits_at(&text, &[-1], Vec::new(), task).unwrap()), RUNS)
}

fn experiment(folder: &Path) -> String {
    let begin = Instant::now();
    let place = folder.join(FILE);
    let mut session = Session::new(Env::in_memory(&folder.join("out")).unwrap());
    let code = format!(
        "let m = model::load({:?});
         let texts = [];
         for row in 0..{} {{ texts.push(range(0, 256).to_array().map(|at| (row * 7919 + at * 104729) % 150000)); }}
         let steer = |x| x + 0.1;
         let changed = m.logits(texts[0], #{{ hooks: hooks::edit(\"resid_post.10\", steer), pos: -1 }});
         let moved = (changed - m.logits(texts[0], #{{ pos: -1 }})).abs().max();
         let rows = texts.map(|text| m.cache(text, \"resid_post.13\")[\"resid_post.13\"][0]);
         let s = sae::fit(tensor::cat(rows), #{{ k: 32, d_sae: 4096, steps: 100, batch: 512 }});
         [moved, s.history.to_map().rows[-1][4]]",
        place.display().to_string(),
        TOKENS / 256
    );
    let found = session.eval("bench", &code).unwrap().into_array().unwrap();
    let number = |at: usize| found[at].as_float().unwrap();
    assert!(number(0) > 0.0);
    format!("{:.0} s, FVE {:.3} at the end", begin.elapsed().as_secs_f64(), number(1))
}
