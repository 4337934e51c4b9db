//! Training steps, beside the same model in torch, and steps of transcoder adapters, Lorsas, parameter decompositions and
//! models of few weights, beside their authors' code. Writes `docs/benchmarks-train.md`.
//!
//! `cargo bench --bench train`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python interpreter
//! that has it and transformers, and the authors' code where the variables that its scripts in `peers` name are set.

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
/// Number of runs of a fit, steps in a run, texts of a step, and tokens of a text.
const FITS: usize = 3;
const FIT_STEPS: usize = 40;
const TEXTS: usize = 8;
const LENGTH: usize = 48;
/// Features of a transcoder adapter.
const FEATURES: usize = 128;
/// Heads of a Lorsa, and those active at a token.
const HEADS: usize = 768;
const ACTIVE: usize = 16;
/// Sizes of the network that is decomposed, as features, neurons, parts of a matrix, and inputs of a step.
const INPUTS: usize = 100;
const NEURONS: usize = 50;
const PARTS: usize = 100;
const ROWS: usize = 512;

fn main() {
    let sentences = format!(
        "Times are medians of {RUNS} steps, ratios of medians of the same run. The model has the shape of GPT-NeoX (6 layers \
         of 192, 6 heads, MLP of 768, vocabulary 4096, tied) and random weights in f32; a step is forward, backward, clipping \
         and AdamW. Transcoder adapters (Hu et al. 2026) are fitted beside the MLPs of a model of the shape of Qwen2 (6 layers of \
         192, 6 heads, gated MLP of 768, vocabulary 4096, tied), {TEXTS} texts of {LENGTH} tokens in a step, {FEATURES} features \
         in a layer. A Lorsa (He et al. 2025) of the first layer of `tiny` has {HEADS} heads in 6 groups, of which {ACTIVE} are \
         active; its codes are those of {TEXTS} texts. A residual MLP of {INPUTS} features and {NEURONS} neurons is decomposed (SPD, \
         Bushnaq et al. 2025) into {PARTS} parts of each matrix, with the losses of the authors' run of it and {ROWS} inputs in a \
         step. Few weights (Gao et al. 2025) are a tenth of those of a model of 2 layers of 64, 4 heads, MLP of 256, vocabulary \
         2048, kept after each step. Ours is all of a call, with the passes of `tiny` where it reads one, divided by its {FIT_STEPS} \
         steps, the median of {FITS} runs; the peers are the authors' models, losses and steps, with Adam and activations or inputs \
         drawn at random, {RUNS} steps."
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
        for Fit { what, peer, numbers, prepare, call } in [adapters(), decomposition(), sparse()] {
            let step = timed_in(folder, prepare, call) / FIT_STEPS as u32;
            let peers = Peers::measure(&format!("{peer}.py"), &numbers);
            rows.push((format!("a step of {what}"), milliseconds(step)));
            rows.push(("the authors' code, the same".into(), peers.against(peer, step, milliseconds)));
        }
        lorsa(folder, &mut rows);
        rows
    });
}

/// A fit whose step is measured, and the script of its peer.
struct Fit {
    what: &'static str,
    peer: &'static str,
    numbers: Vec<usize>,
    prepare: String,
    call: String,
}

/// The median time of a call in a session.
fn timed_in(folder: &Path, prepare: String, call: String) -> Duration {
    in_session(folder, move |session| {
        eval(session, &prepare);
        timed(|| eval(session, &call), FITS)
    })
}

fn adapters() -> Fit {
    let prepare = "let shape = #{
            model_type: \"qwen2\", vocab_size: 4096, hidden_size: 192, intermediate_size: 768, num_hidden_layers: 6,
            num_attention_heads: 6, num_key_value_heads: 6, max_position_embeddings: 256, tie_word_embeddings: true,
        };
        let words = model::load(\"tiny\");
        let base = model::init(shape, #{ tokenizer: words, seed: 1 });
        let tuned = model::init(shape, #{ tokenizer: words, seed: 2 });
        let text = data::text(\"sample\", #{ tokens: 20_000 });";
    let call = format!(
        "diff::transcoder_adapters(base, tuned, text, #{{
            features: {FEATURES}, steps: {FIT_STEPS}, batch: {TEXTS}, context: {LENGTH}, rows: 64, seed: 1,
        }})"
    );
    let numbers = vec![RUNS, TEXTS, LENGTH, FEATURES];
    Fit { what: "transcoder adapters", peer: "adapters", numbers, prepare: prepare.into(), call }
}

fn decomposition() -> Fit {
    let drawn = |rows: usize, columns: usize, seed: usize| {
        format!("tensor::randn([{rows}, {columns}], #{{ seed: {seed} }}) / {:.2}", (columns as f64).sqrt())
    };
    let prepare = format!(
        "let network = decomposition::network([
            #{{ name: \"embed\", matrix: {}, fixed: true }},
            #{{ name: \"in\", matrix: {}, activation: \"relu\" }},
            #{{ name: \"out\", matrix: {}, adds: \"embed\" }},
            #{{ name: \"unembed\", matrix: {}, fixed: true }},
        ]);",
        drawn(INPUTS, INPUTS, 1),
        drawn(NEURONS, INPUTS, 2),
        drawn(INPUTS, NEURONS, 3),
        drawn(INPUTS, INPUTS, 4)
    );
    let probability = 1.0 / INPUTS as f64;
    let call = format!(
        "decomposition::fit(network, #{{
            parts: {PARTS}, steps: {FIT_STEPS}, batch: {ROWS}, probability: {probability}, values: [-1, 1],
            minimality: 1e-5, p: 2, lr: 2e-3, faithful_steps: 0, fresh: true, seed: 1,
        }})"
    );
    let numbers = vec![RUNS, INPUTS, NEURONS, PARTS, ROWS];
    Fit { what: "a parameter decomposition", peer: "decomposition", numbers, prepare, call }
}

fn sparse() -> Fit {
    let prepare = format!(
        "let m = model::init(#{{
            layers: 2, d_model: 64, heads: 4, d_mlp: 256, vocab: 2048, context: 1024,
            positions: \"learned\", norm: \"rms\", act: \"relu\",
        }}, #{{ seed: 1 }});
        let rows = (0..64).map(|i| (0..={LENGTH}).map(|j| (i * 31 + j * 97) % 2048));"
    );
    let call = format!(
        "model::train(m, rows, #{{
            steps: {FIT_STEPS}, batch: {TEXTS}, seed: 1, sparse: #{{ weights: 0.1, annealed: 0 }},
        }})"
    );
    let numbers = vec![RUNS, TEXTS, LENGTH];
    Fit { what: "a model of few weights", peer: "sparse", numbers, prepare, call }
}

/// A step of a Lorsa, and its codes.
fn lorsa(folder: &Path, rows: &mut Rows) {
    let prepare = format!(
        "let m = model::load(\"tiny\");
        let text = data::text(\"sample\", #{{ tokens: 20_000 }});
        let ids = text.ids(m, #{{ context: {LENGTH}, rows: {TEXTS} }});
        let shape = #{{
            heads: {HEADS}, k: {ACTIVE}, batch: {TEXTS}, context: {LENGTH}, rows: 64, fresh: true, seed: 1,
        }};
        let l = sae::lorsa(m, 0, text, shape + #{{ steps: 1 }});"
    );
    let fit = format!("sae::lorsa(m, 0, text, shape + #{{ steps: {FIT_STEPS} }})");
    let step = timed_in(folder, prepare.clone(), fit) / FIT_STEPS as u32;
    let codes = timed_in(folder, prepare, "l.codes(m, ids)".into());
    let peers = Peers::measure("lorsa.py", &[RUNS, TEXTS, LENGTH, HEADS, ACTIVE]);
    for (what, peer, time) in [("a step of a Lorsa", "lorsa", step), ("codes of a Lorsa", "lorsa_codes", codes)] {
        rows.push((what.into(), milliseconds(time)));
        rows.push(("the authors' code, the same".into(), peers.against(peer, time, milliseconds)));
    }
}
