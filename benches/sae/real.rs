//! The effects of screening and of products of bf16: fits on activations of a trained model, with and without them, over three seeds.

use std::sync::Arc;

use kernels::InstructionSet;
use microtome::base::Task;
use microtome::sae::fit::{AuxK, Dead, EncoderProducts, FitResult, FitRun, OfTensor, Recipe, kinds};
use microtome::sae::{About, SparseCodes};
use microtome::tensor::Tensor;

use super::common::{Rows, anywhere, in_session};
use super::recipe::recipe;

/// The activations after a layer of a model of stories, on text that it generated.
const ACTIVATIONS: &str = r#"
    let folder = "tests/fixtures/stories260K";
    let m = model::load(`${folder}/stories260K.bin`, #{ tokenizer: `${folder}/tok512.bin` });
    let text = data::draw(m, #{ tokens: 60_000, seed: 0 });
    m.cache(text.ids, "resid_post.3")["resid_post.3"]
"#;
const FEATURES: usize = 2048;
const CODES: usize = 16;
const STEPS: u64 = 300;
const SEEDS: u64 = 3;

pub const SENTENCE: &str = "Real activations are 60,000 of `resid_post.3` of a model of stories (260,000 parameters, 64 wide) on \
    text that it wrote, those of first positions left out; `topk` with 16 codes of 2,048 features is fitted to them for 300 \
    steps of 4,096 rows, by seeds 0 to 2.";

fn activations() -> Tensor {
    let found = in_session(&anywhere(), |session| session.eval("bench", ACTIVATIONS).unwrap().cast::<Tensor>());
    let (_, positions, width) = found.dims3().unwrap();
    found.narrow(1, 1, positions - 1).unwrap().reshape(((), width)).unwrap()
}

fn fitted(x: &Tensor, seed: u64, steps: u64, compute: EncoderProducts) -> FitResult {
    let recipe = Recipe {
        compute,
        kind: Arc::new(kinds::TopK { k: CODES, ..kinds::TopK::default() }),
        d_sae: FEATURES,
        steps,
        batch: 4096,
        lr: 1e-3,
        dead: Dead::AuxK(AuxK { k: 32, weight: 1.0 / 32.0, most: usize::MAX }),
        dead_after: 100_000,
        scaled: true,
        ..recipe("topk", 0.5, seed)
    };
    let rows = Box::new(OfTensor::new(x, seed).unwrap());
    let task = Task::default();
    let run = FitRun::new(vec![(recipe, None)], rows, None, &task).unwrap();
    run.run(&About::default(), &task).unwrap().remove(0)
}

/// The number of codes that both have.
fn shared(a: &SparseCodes, b: &SparseCodes) -> usize {
    let of_row = |row: usize| a.row(row).0.iter().filter(|feature| b.row(row).0.binary_search(feature).is_ok()).count();
    (0..a.rows()).map(of_row).sum()
}

/// The share of selections that screening changes.
fn otherwise(fitted: FitResult, x: &Tensor) -> String {
    let sae = fitted.made.dictionary().unwrap();
    let codes = || sae.encode_sparse(x, &Task::default()).unwrap();
    let with = codes();
    let without = InstructionSet::Scalar.limit(codes);
    let missed = without.count() - shared(&without, &with);
    format!("{:.4} % ({missed} of {})", 100.0 * missed as f64 / without.count() as f64, without.count())
}

fn ended(fitted: &FitResult) -> String {
    let last = fitted.history.steps.iter().rev().take(20);
    let mean = |of: fn(&microtome::sae::fit::FitStep) -> f64| last.clone().map(of).sum::<f64>() / 20.0;
    let dead = fitted.history.steps.last().map_or(0, |found| found.dead);
    format!("loss {:.4}, FVE {:.5}, {dead} dead", mean(|found| found.loss), mean(|found| found.fve))
}

pub fn rows(rows: &mut Rows) {
    let x = activations();
    for seed in 0..SEEDS {
        let start = fitted(&x, seed, 1, EncoderProducts::F32);
        let with = fitted(&x, seed, STEPS, EncoderProducts::F32);
        let without = InstructionSet::Scalar.limit(|| fitted(&x, seed, STEPS, EncoderProducts::F32));
        let rounded = fitted(&x, seed, STEPS, EncoderProducts::Bf16);
        rows.push((format!("seed {seed}, screened"), ended(&with)));
        rows.push((format!("seed {seed}, not screened"), ended(&without)));
        rows.push((format!("seed {seed}, by products of bf16"), ended(&rounded)));
        rows.push(("selections that screening changes after one step".into(), otherwise(start, &x)));
        rows.push(("the same after the last".into(), otherwise(with, &x)));
    }
}
