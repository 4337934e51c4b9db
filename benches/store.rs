//! A fit on a store ten times larger than the memory limit. Writes `docs/benchmarks-store.md`.
//!
//! `cargo bench --bench store`, on Linux; it needs 2.6 GiB of disk in the folder of temporary files. The measured part
//! runs in a separate process: this program again, with a role, under the system's own limit.

mod common;
#[path = "store/made.rs"]
mod made;

use std::path::Path;
use std::time::Instant;

use common::child::{self, LimitedRun, limited};
use common::{BenchPage, Rows, human};
use microtome::base::{Task, memory};
use microtome::data::store::{Shuffle, Store};
use microtome::script::Session;
use microtome::script::engine::env::Env;

/// The limit of private memory of the process.
const ALLOWED: u64 = 256 << 20;
const WIDTH: usize = 256;
/// Ten times that in numbers of four bytes.
const ROWS: usize = 10 * ALLOWED as usize / 4 / WIDTH;
const BATCH: usize = 4096;

fn main() {
    if let Some((part, folder)) = child::part() {
        return println!("{}", play(&part, &folder));
    }
    memory::keep_freed();
    let place = tempfile::tempdir().unwrap();
    made::make(place.path(), ROWS, WIDTH);
    let size: u64 = std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(size >= 10 * ALLOWED);
    let mut rows = Rows::from([
        ("the store".into(), format!("{} in {ROWS} rows of {WIDTH}", human(size))),
        ("memory that the process is allowed".into(), human(ALLOWED)),
    ]);
    let whole = limited("whole", place.path(), ALLOWED);
    rows.push(("asking for room for the whole store, under that limit".into(), whole.said));
    for (part, what) in [("read", "reading every row once, shuffled"), ("fit", "fitting on every row once")] {
        let LimitedRun { said, most } = limited(part, place.path(), ALLOWED);
        rows.push((what.into(), said));
        rows.push((format!("peak memory of its own, to {part}"), human(most.own)));
        rows.push((format!("peak memory to {part}, the program and pages of files included"), human(most.all)));
        assert!(most.own < ALLOWED, "{part}");
    }
    let sentences = format!(
        "The limit is the system's (`ulimit -d`): all memory that the process may write to counts, mapped files do not, \
         and what goes beyond is refused. The store has f32; {} rows are shuffled at a time. The fit is top-k, k 16, of \
         1,024 features, {BATCH} rows a step.",
        Shuffle::default().buffer
    );
    BenchPage::new("A store ten times the memory", "store", sentences).publish(&rows);
}

fn play(part: &str, folder: &Path) -> String {
    let begin = Instant::now();
    let rate = |words: &str| format!("{:.0} rows a second{words}", ROWS as f64 / begin.elapsed().as_secs_f64());
    match part {
        "whole" => match Vec::<f32>::new().try_reserve_exact(ROWS * WIDTH) {
            Ok(()) => panic!("the limit is not in force"),
            Err(error) => format!("refused: {error}"),
        },
        "read" => {
            read(folder);
            rate("")
        }
        _ => {
            let fve = fit(folder);
            rate(&format!(", FVE {fve:.3} at the end"))
        }
    }
}

fn read(folder: &Path) {
    let files = made::files(folder);
    let store = Store::open(&files, folder).unwrap();
    let mut shuffled = store.shuffled(&[made::SITE], Shuffle::default()).unwrap();
    for _ in 0..ROWS / BATCH {
        shuffled.next(BATCH, &Task::default()).unwrap();
    }
}

fn fit(folder: &Path) -> f64 {
    let mut session = Session::new(Env::in_memory(&folder.join("out")).unwrap());
    let code = format!(
        "let s = sae::fit(data::store({:?}), #{{ k: 16, d_sae: 1024, batch: {BATCH}, steps: {}, seed: 1 }});
         s.history.to_map().rows[-1][4]",
        folder.display().to_string(),
        ROWS / BATCH
    );
    session.eval("bench", &code).unwrap().as_float().unwrap()
}
