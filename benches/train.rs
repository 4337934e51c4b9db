//! Training steps, beside the same model in torch. Writes `docs/benchmarks-train.md`.
//!
//! `cargo bench --bench train`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter
//! that has it and transformers.

mod common;
#[path = "train/step.rs"]
mod step;

use common::peers::Peers;
use common::{BenchPage, Rows, human, milliseconds, most_memory, rate, timed};
use microtome::tensor::Device;
use step::Trainer;

const RUNS: usize = 9;
const SHAPES: [(usize, usize); 2] = [(32, 128), (16, 256)];

fn main() {
    let sentences = format!(
        "Times are medians of {RUNS} steps, ratios of medians of the same run. The model has the shape of GPT-NeoX (6 layers \
         of 192, 6 heads, MLP of 768, vocabulary 4096, tied) and random weights in f32; a step is forward, backward, clipping \
         and AdamW."
    );
    BenchPage::new("Benchmarks of training", "train", sentences).run(|_| {
        let mut rows = Rows::new();
        let numbers: Vec<usize> = [RUNS].into_iter().chain(SHAPES.into_iter().flat_map(|(a, b)| [a, b])).collect();
        let peers = Peers::measure("train.py", &numbers);
        for (texts, length) in SHAPES {
            let mut trainer = Trainer::new(&Device::Cpu, texts, length);
            let step = timed(|| trainer.step(), RUNS);
            let tokens = texts * length;
            let name = format!("step_{texts}x{length}");
            let ours = format!("{} ({})", rate(tokens, step), milliseconds(step));
            rows.push((format!("a step over {texts} texts of {length} tokens"), ours));
            rows.push(("torch, the same".into(), peers.against(&name, step, |step| rate(tokens, step))));
            if let Some(most) = most_memory() {
                rows.push(("peak memory of the process until here".into(), human(most)));
            }
        }
        rows
    });
}
