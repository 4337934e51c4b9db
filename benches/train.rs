//! Training steps, beside the same model in torch, and steps of transcoder adapters, beside their authors' code. Writes
//! `docs/benchmarks-train.md`.
//!
//! `cargo bench --bench train`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter
//! that has it and transformers, and the authors' code where `MICROTOME_TRANSCODER_ADAPTERS` names a checkout of it.

mod common;
#[path = "train/step.rs"]
mod step;

use std::path::Path;
use std::time::Duration;

use common::peers::Peers;
use common::{BenchPage, Rows, eval, human, in_session, milliseconds, most_memory, rate, timed};
use microtome::tensor::Device;
use step::Trainer;

const RUNS: usize = 9;
const SHAPES: [(usize, usize); 2] = [(32, 128), (16, 256)];
/// Number of runs of transcoder adapters; behind it steps in a run, texts of a step, tokens of a text, and features of a layer.
const FITS: usize = 3;
const FIT_STEPS: usize = 40;
const TEXTS: usize = 8;
const LENGTH: usize = 48;
const FEATURES: usize = 128;

fn main() {
    let sentences = format!(
        "Times are medians of {RUNS} steps, ratios of medians of the same run. The model has the shape of GPT-NeoX (6 layers \
         of 192, 6 heads, MLP of 768, vocabulary 4096, tied) and random weights in f32; a step is forward, backward, clipping \
         and AdamW. Transcoder adapters (Hu et al. 2026) are fitted beside the MLPs of a model of the shape of Qwen2 (6 layers of \
         192, 6 heads, gated MLP of 768, vocabulary 4096, tied), {TEXTS} texts of {LENGTH} tokens in a step, {FEATURES} features \
         in a layer: ours is all of `diff::transcoder_adapters`, divided by its {FIT_STEPS} steps, the median of {FITS} runs; the \
         peer is `train_step_bridging` of the authors' code, with clipping and AdamW."
    );
    BenchPage::new("Benchmarks of training", "train", sentences).run(|folder| {
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
        let step = adapters(folder);
        let peers = Peers::measure("adapters.py", &[RUNS, TEXTS, LENGTH, FEATURES]);
        rows.push(("a step of transcoder adapters".into(), milliseconds(step)));
        rows.push(("the authors' code, the same".into(), peers.against("adapters", step, milliseconds)));
        rows
    });
}

/// The time of a fit of transcoder adapters, divided by its steps.
fn adapters(folder: &Path) -> Duration {
    let prepare = "let shape = #{
            model_type: \"qwen2\", vocab_size: 4096, hidden_size: 192, intermediate_size: 768, num_hidden_layers: 6,
            num_attention_heads: 6, num_key_value_heads: 6, max_position_embeddings: 256, tie_word_embeddings: true,
        };
        let words = model::load(\"tiny\");
        let base = model::init(shape, #{ tokenizer: words, seed: 1 });
        let tuned = model::init(shape, #{ tokenizer: words, seed: 2 });
        let text = data::text(\"sample\", #{ tokens: 20_000 });";
    let fit = format!(
        "diff::transcoder_adapters(base, tuned, text, #{{
            features: {FEATURES}, steps: {FIT_STEPS}, batch: {TEXTS}, context: {LENGTH}, rows: 64, seed: 1,
        }})"
    );
    let whole = in_session(folder, move |session| {
        eval(session, prepare);
        timed(|| eval(session, &fit), FITS)
    });
    whole / FIT_STEPS as u32
}
