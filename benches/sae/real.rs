//! The effect of screening: fits on activations of a trained model, with and without it, over three seeds.

use std::sync::Arc;

use kernels::Level;
use microtome::base::Task;
use microtome::sae::fit::{Counting, Dead, FitRun, Fitted, OfTensor, Recipe, kinds};
use microtome::sae::{About, SparseCodes};
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::tensor::Tensor;
use microtome::training::{Schedule, ScheduleShape};

use super::common::Rows;

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
    let found = microtome::script::engine::thread::with_large_stack(|| {
        let mut session = Session::new(Env::in_memory(&std::env::temp_dir().join("microtome-bench")).unwrap());
        session.eval("bench", ACTIVATIONS).unwrap().cast::<Tensor>()
    });
    let found = found.unwrap();
    let (_, positions, width) = found.dims3().unwrap();
    found.narrow(1, 1, positions - 1).unwrap().reshape(((), width)).unwrap()
}

fn fitted(x: &Tensor, seed: u64, steps: u64) -> Fitted {
    let recipe = Recipe {
        kind: Arc::new(kinds::TopK { k: CODES, ..kinds::TopK::default() }),
        d_sae: FEATURES,
        steps,
        batch: 4096,
        lr: 1e-3,
        schedule: Schedule { shape: ScheduleShape::Constant, warmup: 0, decay: 0, floor: 0.0 },
        betas: [0.9, 0.999],
        eps: 1e-8,
        clip: Some(1.0),
        sparsity_warmup: 0,
        counting: Counting::Sum,
        unit: true,
        dead: Dead::AuxK { k: 32, weight: 1.0 / 32.0 },
        dead_after: 100_000,
        scaled: true,
        skip: false,
        follows: 0.999,
        seed,
    };
    let (rows, task) = (Box::new(OfTensor::new(x, seed).unwrap()), Task::default());
    let run = FitRun::new(vec![(recipe, None)], rows, None, &task).unwrap();
    run.run(&About::default(), &task).unwrap().remove(0)
}

/// The number of codes that both have.
fn shared(a: &SparseCodes, b: &SparseCodes) -> usize {
    let of_row = |row: usize| a.row(row).0.iter().filter(|feature| b.row(row).0.binary_search(feature).is_ok()).count();
    (0..a.rows()).map(of_row).sum()
}

/// The share of selections that screening changes.
fn otherwise(fitted: Fitted, x: &Tensor) -> String {
    let sae = fitted.made.dictionary().unwrap();
    let codes = || sae.encode_sparse(x, &Task::default()).unwrap();
    let (with, without) = (codes(), Level::Avx2.limit(codes));
    let missed = without.count() - shared(&without, &with);
    format!("{:.4} % ({missed} of {})", 100.0 * missed as f64 / without.count() as f64, without.count())
}

fn ended(fitted: &Fitted) -> String {
    let last = fitted.history.steps.iter().rev().take(20);
    let mean = |of: fn(&microtome::sae::fit::FitStep) -> f64| last.clone().map(of).sum::<f64>() / 20.0;
    let dead = fitted.history.steps.last().map_or(0, |found| found.dead);
    format!("loss {:.4}, FVE {:.5}, {dead} dead", mean(|found| found.loss), mean(|found| found.fve))
}

pub fn rows(rows: &mut Rows) {
    let x = activations();
    for seed in 0..SEEDS {
        let (start, with) = (fitted(&x, seed, 1), fitted(&x, seed, STEPS));
        let without = Level::Avx2.limit(|| fitted(&x, seed, STEPS));
        rows.push((format!("seed {seed}, screened"), ended(&with)));
        rows.push((format!("seed {seed}, not screened"), ended(&without)));
        rows.push(("selections that screening changes after one step".into(), otherwise(start, &x)));
        rows.push(("the same after the last".into(), otherwise(with, &x)));
    }
}
