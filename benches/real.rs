//! A real model at its size, Gemma 3 270M: loading, reading and writing beside llama.cpp and transformers, attribution graphs of
//! long prompts, and the explorer, with the memory that graphs take beside the model. Writes `docs/benchmarks-real.md`, or
//! `docs/benchmarks-real-avx2.md` where the CPU has no AVX-512.
//! The parenthesis experiment on this model is in `flagship`.
//!
//! `MICROTOME_GEMMA=FOLDER cargo bench --bench real`, half an hour; without the folder it says that it is skipped. There
//! has to be a file `*q4_k_m.gguf` in it and, for transformers, the same weights as a folder `hf`. The peers are measured
//! where `MICROTOME_PEER_PYTHON` names an interpreter that has both.

#[path = "quantised/bandwidth.rs"]
mod bandwidth;
mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::child::{self, limited};
use common::server::Server;
use common::turns::Turns;
use common::{BenchPage, Rows, gemma, human, milliseconds, once, rate};
use microtome::base::access::{Access, Rules};
use microtome::base::files::Files;
use microtome::base::{Task, memory};
use microtome::checkpoint::load::LoadSettings;
use microtome::model::Model;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;

const RUNS: usize = 3;
const PROMPT: usize = 512;
const WRITTEN: usize = 64;
/// Tokens that are read for the activations of a layer, rows of a step, and steps of a dictionary.
const HARVESTED: usize = 18_000;
const BATCH: usize = 4096;
const STEPS: u32 = 40;
/// More than any part takes.
const ALLOWED: u64 = 20 << 30;
/// Tokens of prompts of attribution graphs, and how many features are computed of each: fewer of longer prompts, since a
/// backward pass for each takes time in proportion to the tokens.
const GRAPHS: [(usize, usize); 3] = [(100, 1000), (1000, 100), (4000, 25)];

/// The peers of reading and writing, and how their works begin.
const PEERS: [(&str, &str); 2] = [("transformers", "transformers"), ("llama.cpp", "llama")];

/// What a model of a session does, and how long it takes.
type Work = fn(&mut Session, &str) -> Duration;

/// What is done, what the peers call it, our work, and its tokens.
const WORKS: [(&str, &str, Work, usize); 2] = [("reading", "read", read, PROMPT), ("writing", "write", write, 1)];

/// Reads the same ids as the peers.
const IDS: &str = "let ids = |n| [2] + (0..n - 1).map(|i| 1000 + 977 * i % 200_000);";

fn main() {
    if let Some((part, folder)) = child::part() {
        with_large_stack(move || print!("{}", alone(&part, &folder))).unwrap();
        return;
    }
    let Some(folder) = gemma::folder() else { return };
    let mut rows = Rows::new();
    prepare(&folder);
    for part in [speed, steps, graphs, explorer] {
        part(&folder, &mut rows);
        written(&rows);
    }
    std::fs::remove_dir_all(made()).unwrap();
}

/// Writes down what was measured so far: all of it takes long.
fn written(rows: &Rows) {
    BenchPage::new("Benchmarks of a real model", "real", SENTENCES).by_instructions().publish(rows);
}

const SENTENCES: &str = "Gemma 3 270M (18 layers of 640, a vocabulary of 262,144), from its Q4_K_M file: both read it as it is, \
    here computed in f32, or by products of int8, which round what they read as llama.cpp's do; transformers has the dequantised \
    weights in f32. Ours and the peers' runs take turns on the same threads, three of each after one that does not count; times are \
    medians, ratios the median and the range of those of single turns. Steps of dictionaries are on activations of `resid_post.9`, \
    640 wide, on text that the model inside the binary wrote; in each turn the mean of 40 after the first, of 10 with 16,384 features, \
    and the median of 13 and of 3 that go on from those of the turn before with the libraries. Memory is the peak of a process of its \
    own, without the pages of files; beside the model means less that of a process that only loads the model. Transcoders of \
    attribution graphs were fitted for one step; each has 4,096 features, of which 32 are active at a token.";

/// A session that has the model as `m`.
fn session(folder: &Path) -> Session {
    memory::keep_freed();
    let mut session = Session::new(Env::in_memory(folder).unwrap());
    let begin = format!("let m = model::load({:?}); {IDS}", gemma::file(folder));
    drop(session.eval("bench", &begin).unwrap());
    session
}

fn of(session: &mut Session, code: &str) {
    drop(session.eval("bench", code).unwrap_or_else(|failure| panic!("{code}: {}", failure.message)));
    session.env().files.release();
}

fn speed(folder: &Path, rows: &mut Rows) {
    let numbers = [PROMPT, WRITTEN].map(|number| number.to_string());
    let asked: Vec<String> = std::iter::once(folder.display().to_string()).chain(numbers).collect();
    let mut peers = Turns::start("real.py", &asked, &[]);
    let load = peers.timed(&["llama_load".into()], RUNS, || once(|| drop(session(folder))));
    rows.push(("loading the file".into(), milliseconds(load.ours())));
    rows.push(("llama.cpp".into(), load.against("llama_load", milliseconds)));
    let mut session = session(folder);
    for (what, name, work, tokens) in WORKS {
        let names = PEERS.map(|(_, peer)| format!("{peer}_{name}"));
        let found = peers.timed(&names, RUNS, || work(&mut session, "m"));
        let words = |time: Duration| rate(tokens, time);
        rows.push((format!("{what}, of a prompt of {PROMPT} tokens"), words(found.ours())));
        for ((peer, _), name) in PEERS.iter().zip(&names) {
            rows.push(((*peer).into(), found.against(name, words)));
        }
    }
    let bandwidth = bandwidth::bandwidth();
    rows.push(("the memory, read by all threads".into(), bandwidth::written(bandwidth)));
    let files = Files::new(Access::new(folder, &Rules::default()).unwrap(), false);
    let model = Model::load(&files, &gemma::file(folder), &LoadSettings::default(), &Task::default()).unwrap();
    of(&mut session, &format!("let by_int8 = model::load({:?}, #{{ compute: \"int8\" }});", gemma::file(folder)));
    for (what, name, work, tokens) in WORKS {
        let peer = format!("llama_{name}");
        let found = peers.timed(std::slice::from_ref(&peer), RUNS, || work(&mut session, "by_int8"));
        let words = |time: Duration| rate(tokens, time);
        let own = if name == "write" {
            let share = bandwidth::share(&model.decoder, found.ours(), bandwidth);
            format!("{} ({share:.2} of the memory's bandwidth)", words(found.ours()))
        } else {
            words(found.ours())
        };
        rows.push((format!("{what} by products of int8, of a prompt of {PROMPT} tokens"), own));
        rows.push(("llama.cpp".into(), found.against(&peer, words)));
    }
}

/// Reads the prompt.
fn read(session: &mut Session, model: &str) -> Duration {
    once(|| of(session, &format!("{model}.logits(ids.call({PROMPT}), #{{ pos: -1 }});")))
}

/// Writes behind the prompt; the time is that of one token.
fn write(session: &mut Session, model: &str) -> Duration {
    let first = read(session, model);
    let generate = format!("{model}.generate_ids(ids.call({PROMPT}), #{{ tokens: {WRITTEN} }});");
    once(|| of(session, &generate)).saturating_sub(first) / WRITTEN as u32
}

/// Steps of a `topk` dictionary on activations of the model, beside the libraries on the same rows.
fn steps(folder: &Path, rows: &mut Rows) {
    let mut session = Session::new(Env::in_memory(&made()).unwrap());
    let harvest = format!(
        "let m = model::load({:?});
        let text = data::text(\"sample\", #{{ tokens: {HARVESTED} }});
        let x = m.cache(text.ids(m), \"resid_post.9\")[\"resid_post.9\"].reshape([-1, m.config.d_model])[0..{}];
        x.save(\"rows.npy\");",
        gemma::file(folder),
        4 * BATCH
    );
    of(&mut session, &harvest);
    for features in [4096, 16_384] {
        // As long for both: the libraries take four times as long for a step of the larger.
        let made_steps = STEPS * 4096 / features;
        let mut fit = |steps: u32| {
            let code =
                format!("sae::fit(x, #{{ k: 32, d_sae: {features}, batch: {BATCH}, steps: {steps}, seed: 0 }});");
            once(|| of(&mut session, &code))
        };
        let turn = made_steps as usize / RUNS;
        let numbers = [turn, 640, 32, BATCH].map(|number| number.to_string());
        let mut peers = Turns::start("sae.py", &numbers, &[("MICROTOME_BENCH_ROWS", made().join("rows.npy"))]);
        let libraries = ["dictionary_learning", "sae_lens", "sparsify"];
        let names = libraries.map(|library| format!("{library}_topk_{features}"));
        let found = peers.timed(&names, RUNS, || {
            let first = fit(1);
            fit(1 + made_steps).saturating_sub(first) / made_steps
        });
        rows.push((format!("a step of `topk`, {features} features, {BATCH} rows"), milliseconds(found.ours())));
        for (library, name) in libraries.iter().zip(&names) {
            rows.push(((*library).into(), found.against(name, milliseconds)));
        }
    }
}

/// What a process of its own does, and says of it.
fn alone(part: &str, folder: &Path) -> String {
    let mut session = session(folder);
    let mut words = part.split(' ');
    let (Some("graph"), Some(tokens), Some(nodes)) = (words.next(), words.next(), words.next()) else {
        return String::new();
    };
    let place = made().display().to_string();
    of(&mut session, &format!("let t = (0..m.config.layers).map(|n| sae::load(`{place}/${{n}}`));"));
    let begin = Instant::now();
    of(&mut session, &format!("circuit::attribution_graph(m, t, ids.call({tokens}), #{{ nodes: {nodes} }});"));
    format!("{:.1} s", begin.elapsed().as_secs_f64())
}

/// The folder of the transcoders and of the dictionary that the parts read.
fn made() -> PathBuf {
    std::env::temp_dir().join("microtome-bench-real")
}

/// Fits them: for one step, since time and memory do not depend on more.
fn prepare(folder: &Path) {
    std::fs::create_dir_all(made()).unwrap();
    let mut session = Session::new(Env::in_memory(&made()).unwrap());
    let code = format!(
        "let m = model::load({:?});
        let text = data::text(\"sample\", #{{ tokens: 4096 }});
        let fit = #{{ k: 32, d_sae: 4096, steps: 1, seed: 0 }};
        for n in 0..m.config.layers {{ sae::transcoder(m, `mlp_in.${{n}}`, `mlp_out.${{n}}`, text, fit).save(`${{n}}`); }}
        sae::fit(m, \"resid_post.9\", text, #{{ k: 32, d_sae: 16_384, steps: 1, seed: 0 }}).save(\"wide\");",
        gemma::file(folder)
    );
    of(&mut session, &code);
}

fn graphs(folder: &Path, rows: &mut Rows) {
    let model = limited("model", folder, ALLOWED).most.own;
    rows.push(("memory of the model".into(), human(model)));
    for (tokens, nodes) in GRAPHS {
        let found = limited(&format!("graph {tokens} {nodes}"), folder, ALLOWED);
        let memory = human(found.most.own.saturating_sub(model));
        rows.push((
            format!("attribution graph of {tokens} tokens, {nodes} features computed"),
            format!("{}, {memory} beside the model", found.said),
        ));
        written(rows);
    }
}

fn explorer(folder: &Path, rows: &mut Rows) {
    let dictionary = made().join("wide/dictionary.safetensors").display().to_string();
    let server = Server::start(&gemma::file(folder), &dictionary, &["--text", "grammar", "--tokens", "20000"]);
    let (median, late) = server.asked(0, 40);
    rows.push(("the explorer's answer to a key, 16,384 features: median".into(), milliseconds(median)));
    rows.push(("95th percentile".into(), milliseconds(late)));
}
