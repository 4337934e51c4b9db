//! Training steps, beside the same model in torch. Writes `docs/benchmarks-train.md`.
//!
//! `cargo bench --bench train`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter
//! that has it and transformers.

mod common;
#[path = "train/step.rs"]
mod step;

use std::time::Duration;

use common::{Rows, milliseconds, publish, timed};
use microtome::base::memory;
use step::Trainer;

const RUNS: usize = 9;
const SHAPES: [(usize, usize); 2] = [(32, 128), (16, 256)];

fn main() {
    memory::keep_freed();
    let mut rows = Rows::new();
    for (texts, length) in SHAPES {
        let mut trainer = Trainer::new(texts, length);
        let step = timed(|| trainer.step(), RUNS);
        let rate = |time: Duration| (texts * length) as f64 / time.as_secs_f64();
        rows.push((
            format!("a step over {texts} texts of {length} tokens"),
            format!("{:.0} tokens a second ({})", rate(step), milliseconds(step)),
        ));
        for (part, time) in trainer.parts() {
            rows.push((format!("{part}, {texts} x {length}"), milliseconds(time)));
        }
    }
    let sentences = format!(
        "Times are medians of {RUNS} steps, ratios of medians of the same run. The model has the shape of GPT-NeoX (6 layers \
         of 192, 6 heads, MLP of 768, vocabulary 4096, tied) and random weights in f32; a step is forward, backward, clipping \
         and AdamW."
    );
    publish("Benchmarks of training", "train", "benchmarks-train.md", &sentences, &rows);
}
