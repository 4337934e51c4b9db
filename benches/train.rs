//! Training steps, beside the same model in torch. Writes `docs/benchmarks-train.md`.
//!
//! `cargo bench --bench train`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter
//! that has it and transformers.

mod common;
#[path = "common/most_memory.rs"]
mod most_memory;
#[path = "common/peers.rs"]
mod peers;
#[path = "train/step.rs"]
mod step;

use common::{Rows, milliseconds, publish, timed};
use microtome::base::memory;
use microtome::tensor::Device;
use peers::{Peers, rate};
use step::Trainer;

const RUNS: usize = 9;
const SHAPES: [(usize, usize); 2] = [(32, 128), (16, 256)];

fn main() {
    memory::keep_freed();
    let mut rows = Rows::new();
    let numbers: Vec<usize> = [RUNS].into_iter().chain(SHAPES.into_iter().flat_map(|(a, b)| [a, b])).collect();
    let peers = Peers::measure("train.py", &numbers);
    for (texts, length) in SHAPES {
        let mut trainer = Trainer::new(&Device::Cpu, texts, length);
        let step = timed(|| trainer.step(), RUNS);
        let (tokens, name) = (texts * length, format!("step_{texts}x{length}"));
        let ours = format!("{} ({})", rate(tokens, step), milliseconds(step));
        rows.push((format!("a step over {texts} texts of {length} tokens"), ours));
        rows.push(("torch, the same".into(), peers.against(&name, step, |step| rate(tokens, step))));
        if let Some(most) = most_memory::most_memory() {
            rows.push(("peak memory of the process until here".into(), memory::human(most.into())));
        }
    }
    let sentences = format!(
        "Times are medians of {RUNS} steps, ratios of medians of the same run. The model has the shape of GPT-NeoX (6 layers \
         of 192, 6 heads, MLP of 768, vocabulary 4096, tied) and random weights in f32; a step is forward, backward, clipping \
         and AdamW."
    );
    publish("Benchmarks of training", "train", "benchmarks-train.md", &sentences, &rows);
}
