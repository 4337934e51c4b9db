//! A step of a toy model of superposition from a script, beside the same in torch. Writes `docs/benchmarks-gradients.md`.
//!
//! `cargo bench --bench gradients`; torch is measured in the same run where `MICROTOME_PEER_PYTHON` names a Python
//! interpreter that has it.

#[allow(dead_code, reason = "a step takes microseconds")]
mod common;
#[allow(dead_code, reason = "no tokens are counted")]
#[path = "common/peers.rs"]
mod peers;

use std::time::Duration;

use common::{Rows, publish, timed};
use microtome::base::memory;
use microtome::script::Session;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread::with_large_stack;
use peers::Peers;

const RUNS: usize = 9;
/// Steps in a run, whose time is divided by them.
const STEPS: usize = 200;
const ROWS: usize = 1024;
const FEATURES: usize = 20;
const DIMS: usize = 5;

fn main() {
    memory::keep_freed();
    let peers = Peers::measure("gradients.py", &[RUNS, STEPS, ROWS, FEATURES, DIMS]);
    let mut rows = Rows::new();
    for (name, what, begin, step) in [
        ("fixed", "a step on the same rows", "", "x"),
        ("drawn", "a step on rows drawn for it", "import \"std/toy\" as toy; let drawn = 0;", DRAWN),
    ] {
        let step = measured(begin, step);
        rows.push((what.into(), microseconds(step)));
        rows.push(("torch, the same".into(), peers.against(name, step, microseconds)));
    }
    let sentences = format!(
        "Times are medians of {RUNS} runs of {STEPS} steps each, divided by them; ratios are of medians of the same run. The \
         model gives back relu(x W W^T + b) for {ROWS} rows of {FEATURES} features in {DIMS} dimensions; a step is the \
         mean squared error, its gradient, and AdamW. Ours is a script, `opt.step(|p| ..)`; torch runs eagerly."
    );
    publish("Benchmarks of gradients in scripts", "gradients", "benchmarks-gradients.md", &sentences, &rows);
}

const DRAWN: &str = "{ drawn += 1; toy::inputs(1024, 20, 0.9, drawn) }";

/// The time of a step on the rows that `x` gives.
fn measured(begin: &str, x: &str) -> Duration {
    let prepare = format!(
        "{begin} let x = tensor::uniform([{ROWS}, {FEATURES}], #{{ seed: 1 }});
         let params = #{{ w: tensor::randn([{FEATURES}, {DIMS}], #{{ seed: 2 }}) * 0.3, b: tensor::zeros({FEATURES}) }};
         let opt = optim::adamw(params, #{{ lr: 0.001 }});"
    );
    let steps = format!(
        "for i in 0..{STEPS} {{
            opt.step(|p| {{ let x = {x}; (((x @ p.w @ p.w.transpose() + p.b).relu() - x) ** 2).mean() }});
        }}"
    );
    let whole = with_large_stack(move || {
        let mut session = Session::new(Env::in_memory(&std::env::temp_dir().join("microtome-bench")).unwrap());
        let mut run = |code: &str| drop(session.eval("bench", code).unwrap());
        run(&prepare);
        timed(|| run(&steps), RUNS)
    });
    whole.unwrap() / STEPS as u32
}

fn microseconds(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}
