//! A GPU: products, forward passes, harvests, steps of top-k dictionaries and training steps, with the most memory that each
//! takes, beside PyTorch, TransformerLens, SAELens, dictionary_learning and sparsify. Writes `docs/benchmarks-gpu.md`.
//!
//! `cargo bench --features cuda --bench gpu`; the peers are measured in the same run where `MICROTOME_PEER_PYTHON` names a
//! Python interpreter that has them. No product whose result is shown uses tf32. Steps are of random rows, of rows of the
//! model inside the binary, and where `MICROTOME_ROWS` names a file of numpy (Gemma's, say), of its rows.

mod common;
#[path = "sae/recipe.rs"]
mod recipe;
#[path = "gpu/step.rs"]
mod step;
#[path = "train/step.rs"]
mod train;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::peers::Peers;
use common::{BenchPage, Rows, eval, folder, in_session, milliseconds, rate, said, shapes, timed};
use kernels::device::most_since;
use kernels::device::rows::SparseRows;
use microtome::base::random::stream;
use microtome::base::{Task, memory};
use microtome::model::run::Ask;
use microtome::model::site::select;
use microtome::sae::fit;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::tensor::{DType, Device, Tensor, create, device};

const RUNS: usize = 7;
const TEXTS: usize = 64;
const LENGTH: usize = 256;
const ROWS: usize = 8192;
/// The width from which the recipe of a benchmark draws its defaults.
const D: usize = 512;
const K: usize = 32;
const SIZES: [(usize, usize); 6] =
    [(512, 16_384), (512, 32_768), (512, 131_072), (2048, 16_384), (2048, 32_768), (2048, 131_072)];
/// Features of dictionaries of a model's rows, and the steps that they have made before one is timed.
const FEATURES: [usize; 2] = [16_384, 65_536];
const STEPS_BEFORE: usize = 100;
const STEPS_TIMED: usize = 40;
/// Rows of the model inside the binary: what it computes of text that it wrote.
const OWN_ROWS: &str = r#"
    let m = model::load("tiny");
    let text = data::text("sample", #{ tokens: 36_000 });
    let x = m.cache(text.ids(m), "resid_post.3")["resid_post.3"].reshape([-1, m.config.d_model]);
    x[0..32_768].save("rows.npy");
"#;
const TRAINED: [(usize, usize); 2] = [(32, 128), (16, 256)];
const SIDE: usize = 8192;
const DTYPES: [(DType, &str); 2] = [(DType::F32, "f32"), (DType::BF16, "bf16")];

fn main() {
    let there = match device::open("cuda") {
        Ok(there) => there,
        Err(error) => return println!("skipped: {error}"),
    };
    let peers = Peers::run("gpu.py", &arguments_of_peers(SIZES));
    let mut bench = Bench { there, peers, rows: Rows::new() };
    for part in [Bench::products, Bench::passes, Bench::steps, Bench::parts, Bench::training, Bench::real_steps] {
        part(&mut bench);
        bench.publish();
    }
}

struct Bench {
    there: Device,
    peers: Peers,
    rows: Rows,
}

impl Bench {
    /// Writes down what was measured so far.
    fn publish(&self) {
        let query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
        let card = said(Command::new("nvidia-smi").args(query)).unwrap_or("a GPU".into());
        let sentences = format!(
            "The GPU: {card}. Times are medians of {RUNS} runs, ratios of medians of the same run; the device is waited for before \
             the clock is read. No product whose result is shown uses tf32. Memory is the most that the device's pool held at \
             once, weights included. The model has the shape of Pythia-70M and reads {TEXTS} texts of {LENGTH} tokens, with all \
             logits; a harvest stops at `resid_post.3`. Dictionaries have {K} codes in a row and read batches of {ROWS} rows; the \
             weights of ours are f32. Rows are random where it is not said of which model they are; of a model's rows ours is the \
             mean of {STEPS_TIMED} steps of `sae::fit` after {STEPS_BEFORE}, with its defaults, and a peer's the median after as \
             many. Rows of `tiny` are of `resid_post.3`."
        );
        BenchPage::new("Benchmarks on a GPU", "gpu", sentences).publish(&self.rows);
    }

    /// The median time of some work, and the most memory that it took.
    fn timed(&self, mut work: impl FnMut()) -> (Duration, String) {
        most_since(&self.there).unwrap();
        let run = || {
            work();
            self.there.synchronize().unwrap();
        };
        let time = timed(run, RUNS);
        (time, memory::human(most_since(&self.there).unwrap().unwrap_or_default().into()))
    }

    /// A row of ours, and one for each of these peers.
    fn row(
        &mut self,
        what: &str,
        (time, most): (Duration, String),
        names: &[String],
        words: impl Fn(Duration) -> String,
    ) {
        eprintln!("{what}: {}, {most}", words(time));
        self.rows.push((what.into(), format!("{}, {most}", words(time))));
        for name in names {
            // Bytes come as the times do, a number on a line.
            let most = self.peers.measured(&format!("{name}_memory"));
            let memory = most.map_or(String::new(), |bytes| format!(", {}", memory::human(bytes.as_secs() as u128)));
            let found = self.peers.against(name, time, &words);
            self.rows.push((format!("{}, the same", library(name)), format!("{found}{memory}")));
        }
    }

    /// What the card does at best.
    fn products(&mut self) {
        for (dtype, name) in DTYPES {
            let x = drawn(&[SIDE, SIDE], &self.there).to_dtype(dtype).unwrap();
            let found = self.timed(|| drop(x.matmul(&x).unwrap()));
            let speed = |time: Duration| {
                format!(
                    "{:.0} TFLOP/s ({})",
                    2.0 * (SIDE as f64).powi(3) / time.as_secs_f64() / 1e12,
                    milliseconds(time)
                )
            };
            self.row(
                &format!("a product of {SIDE} x {SIDE}, {name}"),
                found,
                &[format!("torch_product_{name}")],
                speed,
            );
        }
    }

    fn passes(&mut self) {
        let task = Task::default();
        for (dtype, name) in DTYPES {
            let model = shapes::model(dtype, &self.there);
            let batch = shapes::texts(TEXTS, LENGTH);
            let found = self.timed(|| drop(model.logits(&batch, Vec::new(), &task).unwrap()));
            let names = [format!("lens_forward_{name}"), format!("transformers_forward_{name}")];
            self.row(&format!("forward with all logits, {name}"), found, &names, speed_of_passes);
            let places = select(model.config(), "resid_post.3").unwrap();
            let ask = || Ask { places: places.clone(), ..Ask::default() };
            let found = self.timed(|| drop(model.cache(&batch, ask(), &task).unwrap()));
            self.row(
                &format!("harvest of `resid_post.3`, {name}"),
                found,
                &[format!("lens_harvest_{name}")],
                speed_of_passes,
            );
        }
    }

    fn steps(&mut self) {
        for (width, features) in SIZES {
            let x = |_| fit::FitBatch { x: drawn(&[ROWS, width], &self.there), target: None };
            let batches: Vec<fit::FitBatch> = (0..4).map(x).collect();
            let words = |time| format!("{} ({})", rate(ROWS, time), milliseconds(time));
            let mut one = step::Fit::new(&self.there, width, features);
            let what = format!("`topk`, {features} features of {width}, f32, in candle's operations");
            match one.step_densely(&batches) {
                Ok(()) => {
                    let found = self.timed(|| one.step_densely(&batches).unwrap());
                    self.row(&what, found, &[], words);
                }
                Err(error) => self.rows.push((what, format!("not measured: {error}"))),
            }
            let found = self.timed(|| one.step(&batches));
            self.row(&format!("`topk`, {features} features of {width}, f32"), found, &peers_of(width, features), words);
        }
    }

    /// Steps on rows of models, in which a few dimensions are larger than the others.
    fn real_steps(&mut self) {
        let place = folder("gpu");
        in_session(&place, |session| eval(session, OWN_ROWS));
        let mut files = vec![("`tiny`".to_string(), place.join("rows.npy"))];
        if let Some(given) = std::env::var_os("MICROTOME_ROWS").map(PathBuf::from) {
            files.push((given.file_stem().unwrap_or_default().to_string_lossy().into_owned(), given));
        }
        for (model, file) in files {
            let mut env = Env::in_memory(&place).unwrap();
            env.device = self.there.clone();
            let mut session = Session::new(env);
            eval(&mut session, &format!("let x = tensor::load({:?}).to(\"f32\");", file.display().to_string()));
            let width = session.eval("bench", "x.shape[1]").unwrap().cast::<i64>() as usize;
            let sizes = FEATURES.map(|features| (width, features));
            let variables =
                [("MICROTOME_BENCH_ROWS", file), ("MICROTOME_BENCH_STEPS", STEPS_BEFORE.to_string().into())];
            self.peers = Peers::run_with("gpu.py", &arguments_of_peers(sizes), &variables);
            for features in FEATURES {
                let mut fit = |steps: usize| {
                    let options = format!("k: {K}, d_sae: {features}, batch: {ROWS}, steps: {steps}, seed: 0");
                    timed(|| eval(&mut session, &format!("sae::fit(x, #{{ {options} }});")), 1)
                };
                most_since(&self.there).unwrap();
                let before = fit(STEPS_BEFORE);
                let time = fit(STEPS_BEFORE + STEPS_TIMED).saturating_sub(before) / STEPS_TIMED as u32;
                let most = memory::human(most_since(&self.there).unwrap().unwrap_or_default().into());
                let words = |time| format!("{} ({})", rate(ROWS, time), milliseconds(time));
                let what = format!("`topk` on rows of {model}, {features} features of {width}, f32");
                self.row(&what, (time, most), &peers_of(width, features), words);
            }
        }
    }

    /// Where the time of a step goes, of the widest dictionary of the smallest width.
    fn parts(&mut self) {
        let (width, features) = SIZES[2];
        let [x, table] = [ROWS, features].map(|rows| drawn(&[rows, width], &self.there));
        let bias = drawn(&[features], &self.there);
        let pre = x.matmul(&table.t().unwrap()).unwrap();
        let codes = SparseRows::largest_of_rows(&pre, Some(&bias), K).unwrap();
        let columns = codes.by_column().unwrap();
        let slopes = codes.slopes(&x, &table).unwrap();
        let parts: [(&str, &dyn Fn()); 7] = [
            ("the product of its encoder", &|| drop(x.matmul(&table.t().unwrap()).unwrap())),
            ("the largest of each row", &|| drop(SparseRows::largest_of_rows(&pre, Some(&bias), K).unwrap())),
            ("the largest of all", &|| drop(SparseRows::largest_of_all(&pre, Some(&bias), K * ROWS).unwrap())),
            ("its reconstruction", &|| drop(codes.times(&table).unwrap())),
            ("the slopes of codes", &|| drop(codes.slopes(&x, &table).unwrap())),
            ("codes by column", &|| drop(codes.by_column().unwrap())),
            ("the gradient of a table", &|| drop(columns.sums(&slopes, &x).unwrap())),
        ];
        for (what, part) in parts {
            let found = self.timed(part);
            self.row(&format!("of a step of {features} features of {width}: {what}"), found, &[], milliseconds);
        }
    }

    fn training(&mut self) {
        for (texts, length) in TRAINED {
            let mut trainer = train::Trainer::new(&self.there, texts, length);
            let found = self.timed(|| trainer.step());
            let names = DTYPES.map(|(_, name)| format!("torch_train_{texts}x{length}_{name}"));
            let words = |time| format!("{} ({})", rate(texts * length, time), milliseconds(time));
            self.row(&format!("training, {texts} texts of {length} tokens, f32"), found, &names, words);
        }
    }
}

/// The arguments of the peers' script for dictionaries of these widths and numbers of features.
fn arguments_of_peers(sizes: impl IntoIterator<Item = (usize, usize)>) -> Vec<String> {
    let sizes = sizes.into_iter().flat_map(|(width, features)| [width, features]);
    [RUNS, TEXTS, LENGTH, ROWS, K].into_iter().chain(sizes).map(|number| number.to_string()).collect()
}

/// The names of the peers' steps of dictionaries of a size.
fn peers_of(width: usize, features: usize) -> Vec<String> {
    let size = format!("topk_{width}_{features}");
    let peer = |peer: &str| DTYPES.map(|(_, name)| format!("{peer}_{size}_{name}"));
    let mut names = ["dictionary_learning", "sae_lens", "sparsify"].map(peer).concat();
    names.push(format!("sparsify_{size}_f32_without_autocast"));
    names
}

/// The library of a peer's name, and in which precision it computed.
fn library(name: &str) -> String {
    let libraries = [
        ("dictionary_learning", "dictionary_learning"),
        ("sae_lens", "SAELens"),
        ("sparsify", "sparsify"),
        ("lens", "TransformerLens"),
        ("transformers", "transformers"),
    ];
    let found = libraries.iter().find(|(begins, _)| name.starts_with(begins)).map_or("torch", |(_, library)| library);
    // sparsify's forward pass turns autocast on by itself.
    let precision = match name {
        _ if name.ends_with("bf16") => "bf16",
        _ if name.ends_with("without_autocast") => "f32",
        _ if name.starts_with("sparsify") => "f32 weights, products in bf16",
        _ => "f32",
    };
    format!("{found}, {precision}")
}

fn speed_of_passes(time: Duration) -> String {
    format!("{} ({})", rate(TEXTS * LENGTH, time), milliseconds(time))
}

fn drawn(dims: &[usize], there: &Device) -> Tensor {
    create::randn(dims, DType::F32, &mut stream(0, "bench", 1)).unwrap().to_device(there).unwrap()
}
